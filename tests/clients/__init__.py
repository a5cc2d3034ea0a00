"""The clients that customers have, unchanged, against a whole lab: they believe that they speak to the cloud."""

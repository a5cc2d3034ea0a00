"""The leaves: what each should be, the actors that make them so, and what is seen there."""

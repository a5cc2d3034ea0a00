"""Package mirrors for machines that are being installed: a reverse proxy that keeps what it has fetched."""

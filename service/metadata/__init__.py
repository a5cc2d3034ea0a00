"""What an installed system is told about itself, by its source address, and how it phones home."""

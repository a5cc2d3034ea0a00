"""What operators may read and do."""

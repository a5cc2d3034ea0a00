"""The courses of the work, each a tuple of steps."""

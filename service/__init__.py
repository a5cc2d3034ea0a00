"""The running service: the only place where the parts meet."""

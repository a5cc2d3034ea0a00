"""The address manager over HTTP: /ipam/v1, for staff and customers alike."""

"""Installations by a distribution's own installer, as the service conducts them."""

"""Releases of images in the service: which one an order gets, how installs of each go, and what follows from that."""

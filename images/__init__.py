"""Catalogue, installer templates, image builder and the in-RAM installer with its agent."""

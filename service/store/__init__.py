"""Rows and queries of the service, one module a family of tables."""

"""Migrations, queries and their loader."""

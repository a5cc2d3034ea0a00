"""Prefixes, assignments and the ledger; knows nothing of machines."""

"""Players that use the address manager at random, each act foretold from the plain picture of tests/ipam/model.py."""

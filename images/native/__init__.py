"""The native engine: what a distribution's own installer is told. Pure: from an order to files and kernel arguments."""

"""Real firmware, plugged into a leaf's port: from power-on to what it was told to boot."""

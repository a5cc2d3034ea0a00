"""Out-of-band power and boot order of a machine."""

"""Speed, shown: `make bench` runs these parts and writes build/bench.json. Nothing here is asserted."""

"""The command line: `roundhouse NOUN VERB`."""

"""Building the in-RAM installer and whole-disk images from distribution packages; `roundhouse image build` calls it."""

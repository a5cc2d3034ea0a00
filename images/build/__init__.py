"""Building the in-RAM installer and whole-disk images from distribution packages.

python -m images.build installer --out STORE
python -m images.build debian-12 --out STORE
"""

"""The artefact store: a folder of files named by their sha256, and an index of releases that are made of them.

    index.json      {"debian_12": {"current": ID, "serial": N, "releases": {ID: RELEASE, …}}, "installer": …}
    sha256/HASH     the files; never changed once they are there, so any HTTP cache may keep them for ever

RELEASE is {"recipe", "kernel_release", "kernel": FILE, "initrd": FILE, "image": IMAGE, …, "published", "tested",
"signatures"}; FILE is {"file": "sha256/HASH", "sha256": HASH, "bytes": N}; IMAGE is
the chunked data file and has "disk_bytes" and "map", another FILE, besides (`images.chunks`). What a release has not
is absent. A release's ID says what it is made of; `serial` rises with each change of the slug.
A file is complete when its name exists: it is written under another name, synced, and renamed.
"""

from images.store.artefact import (
    FILES,
    HASH,
    Artefact,
    Releases,
    StoredFile,
    StoredImage,
    StoreError,
    canonical,
    described,
    parse_index,
)
from images.store.files import FIRST_STAGES, hash_file, is_there, locked, put_file, put_image, sync_folder, verify
from images.store.index import INDEX, annotate, current, load, load_releases, promote, publish, release, write_index

__all__ = (
    "FILES",
    "FIRST_STAGES",
    "HASH",
    "INDEX",
    "Artefact",
    "Releases",
    "StoreError",
    "StoredFile",
    "StoredImage",
    "annotate",
    "canonical",
    "current",
    "described",
    "hash_file",
    "is_there",
    "load",
    "load_releases",
    "locked",
    "parse_index",
    "promote",
    "publish",
    "put_file",
    "put_image",
    "release",
    "sync_folder",
    "verify",
    "write_index",
)

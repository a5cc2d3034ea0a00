"""The files that TFTP serves, read into memory once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_FILE_BYTES = 64 << 20
MOST_BYTES = 512 << 20


class TooLarge(Exception):
    """The folder holds more than may be served from memory."""


def load_files(directory: Path) -> dict[str, bytes]:
    """Read the regular files under `directory` into memory, by name: "name", "folder/name".

    Symbolic links are left out, wherever they lead. Raises OSError, or TooLarge for a file of more than
    `MOST_FILE_BYTES` and for more than `MOST_BYTES` in all.
    """
    files: dict[str, bytes] = {}
    top = directory.resolve()
    room = MOST_BYTES
    # Every file is opened by the folder that was walked, so that no folder can become a link in between.
    for folder, _, names, descriptor in os.fwalk(top, onerror=_raise, follow_symlinks=False):
        for file in names:
            name = (Path(folder).relative_to(top) / file).as_posix()
            content = _read(file, descriptor, min(room, MOST_FILE_BYTES), name)
            if content is not None:
                files[name] = content
                room -= len(content)
    return files


def _read(file: str, folder: int, limit: int, name: str) -> bytes | None:
    if not stat.S_ISREG(os.stat(file, dir_fd=folder, follow_symlinks=False).st_mode):
        return None
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(
            f"{name}: {MOST_FILE_BYTES >> 20} MiB in a file and {MOST_BYTES >> 20} MiB in all are served at most"
        )
    return content


def _raise(err: OSError) -> None:
    raise err

"""Firmware bundles: files in a folder that the operator names. Without that setting there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.store import hash_file
from service.settings import Settings


class NoBundle(LookupError):
    """There is no such bundle, or none at all."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A tar archive with a program for machines in the in-RAM installer."""

    name: str
    sha256: str
    bytes: int


def bundle_named(settings: Settings, name: str) -> Bundle:
    """The bundle of that file name. It reads the whole file. Raises NoBundle."""
    path = Path(settings.firmware_dir, name) if settings.firmware_dir else None
    if path is None:
        raise NoBundle("firmware bundles are off: the setting firmware_dir names no folder")
    if Path(name).name != name or not path.is_file():
        there = sorted(one.name for one in path.parent.glob("*") if one.is_file())
        raise NoBundle(f"bundle {name!r} is not one of {', '.join(there) or 'none'}")
    return Bundle(name, hash_file(path), path.stat().st_size)


def bundle_by_hash(settings: Settings, sha256: str) -> Path | None:
    """The file with that content; it reads all of them."""
    if not settings.firmware_dir:
        return None
    files = (path for path in sorted(Path(settings.firmware_dir).glob("*")) if path.is_file())
    return next((path for path in files if hash_file(path) == sha256), None)

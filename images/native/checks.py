"""What no installer can do anything with."""

from __future__ import annotations

import re

from images.native.contract import CannotExpress
from images.protocol import Storage, Wish

# RFC 1123 §2.1
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_HASH = re.compile(r"[!-9;-~]*")  # crypt(5)
_PATH = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9/._:+-]*")

DISKS = {"none": 1, "1": 2, "10": 4}


def check(wish: Wish) -> None:
    """Raises CannotExpress, naming field and allowed values."""
    if not _HOSTNAME.fullmatch(wish["hostname"]):
        raise CannotExpress(f"hostname {wish['hostname']!r}: allowed are letters, digits and hyphens, joined by dots")
    if not _HASH.fullmatch(wish["password_hash"]):
        raise CannotExpress("password_hash: allowed is what crypt(3) makes, or nothing")
    storage = wish["storage"]
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in storage["passphrase"]):
        raise CannotExpress("storage.passphrase: allowed is what can be typed at a console, no control characters")
    _check_disks(storage)


def _check_disks(storage: Storage) -> None:
    named, raid = len(storage["disks"]), storage["raid"]
    allowed = {"none": named == 1, "1": named >= 2, "10": named >= 4 and named % 2 == 0}
    if named and not allowed[raid]:
        words = {"none": "1 disk without RAID", "1": "2 disks or more", "10": "an even number of 4 disks or more"}
        raise CannotExpress(f"storage.disks: {named} disks with storage.raid {raid!r}; allowed: {words[raid]}")
    for hint in storage["disks"]:
        path = hint.get("path", "/dev/sda")
        if not _PATH.fullmatch(path) or ".." in path:
            raise CannotExpress(f"storage.disks: path {path!r}; allowed are names below /dev")
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in hint.get("serial", "").replace(" ", "")):
            raise CannotExpress("storage.disks: serial; allowed are printable ASCII characters")


def one_plain_disk(storage: Storage, installer: str) -> None:
    """Raises CannotExpress for anything but a system as it comes, on one disk."""
    if storage["raid"] != "none":
        raise refuse("storage.raid", storage["raid"], installer, "'none'")
    if storage["lvm"]:
        raise refuse("storage.lvm", True, installer, "false")
    if storage["passphrase"]:
        raise refuse("storage.passphrase", "…", installer, "none")


def disk_count(storage: Storage) -> int:
    """How many disks the system lies on."""
    return len(storage["disks"]) or DISKS[storage["raid"]]


def refuse(field: str, value: object, installer: str, allowed: str) -> CannotExpress:
    """The sentence for what one installer cannot do."""
    return CannotExpress(f"{field} {value!r}: {installer} cannot do that; allowed: {allowed}")

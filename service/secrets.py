"""Secrets at rest: sealed with AES-256-GCM under keys that lie in a file of their own, not in the database.

A sealed blob is the byte 1, four bytes that name its key, the nonce, and the ciphertext with its tag. Blobs of before
keys had names are nonce and ciphertext alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D §5.2.1.1
_KEY_BYTES = 32
_FORM = b"\x01"


class SecretUnreadable(ValueError):
    """The blob was sealed with none of these keys, or the file of the keys is none."""


class Use(StrEnum):
    """What a key is for. A rotation takes a key through them in this order."""

    NEXT = "next"  # opens; it will seal when every host has it
    SEALS = "seals"  # opens, seals, and signs
    OPENS = "opens"  # opens what has not been sealed again yet


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file."""

    secret: bytes
    use: Use

    def __repr__(self) -> str:
        return f"Key({self.id.hex()}, {self.use})"

    @property
    def id(self) -> bytes:
        """Four bytes that name the key in blobs; they tell nothing of it."""
        return hashlib.sha256(b"roundhouse key:" + self.secret).digest()[:4]


class KeyRing:
    """A process's keys. The file is looked at again whenever it has changed, so a rotation needs no restart."""

    def __init__(self, keys: tuple[Key, ...], file: Path | None = None) -> None:
        """`file` is where the keys are from; without one they stay as they are."""
        self._keys = keys
        self._file = file
        self._seen = None if file is None else _stamp(file)

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, that which seals first. Raises SecretUnreadable."""
        if self._file is not None and (stamp := _stamp(self._file)) != self._seen:
            self._keys, self._seen = read_keys(self._file), stamp
        return self._keys

    @property
    def first(self) -> Key:
        """The key that seals and signs."""
        return self.keys[0]

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What a signature may have been made with."""
        return tuple(key.secret for key in self.keys)


def _stamp(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def new_key(use: Use) -> Key:
    """A random key."""
    return Key(secrets.token_bytes(_KEY_BYTES), use)


def read_keys(file: Path) -> tuple[Key, ...]:
    """The file's keys, that which seals first. Raises SecretUnreadable.

    A line is a key in hexadecimal and what it is for; a file of 32 bytes is one key, as it was before rotation.
    """
    content = file.read_bytes()
    if len(content) == _KEY_BYTES:
        return (Key(content, Use.SEALS),)
    try:
        lines = [line.split() for line in content.decode("ascii").splitlines()]
        keys = [Key(bytes.fromhex(text), Use(use)) for text, use in lines]
    except ValueError:
        raise SecretUnreadable(f"{file} is no file of keys: {len(content)} bytes") from None
    wrong = [key for key in keys if len(key.secret) != _KEY_BYTES]
    if wrong or sum(key.use is Use.SEALS for key in keys) != 1:
        raise SecretUnreadable(f"{file} must have one key that seals, and keys of {_KEY_BYTES} bytes")
    return tuple(sorted(keys, key=lambda key: key.use is not Use.SEALS))


def write_keys(file: Path, keys: tuple[Key, ...]) -> None:
    """Put the keys in the place of the file's: at each moment there are the old ones or the new ones."""
    partial = _written(file, keys)
    partial.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_keys(state_dir: Path) -> KeyRing:
    """The process's keys from `state_dir`/key, made on first use and readable by its owner alone.

    Two processes that start at once get the same key: the file appears under its name only when it is whole.
    """
    file = state_dir / "key"
    if not file.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        partial = _written(file, (new_key(Use.SEALS),))
        try:
            os.link(partial, file)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return KeyRing(read_keys(file), file)


def _written(file: Path, keys: tuple[Key, ...]) -> Path:
    """The keys in a file beside it."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, "".join(f"{key.secret.hex()} {key.use}\n" for key in keys).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    return partial


def sealed_by(key: Key) -> bytes:
    """How every blob that the key has sealed begins."""
    return _FORM + key.id


def seal(ring: KeyRing, text: str) -> bytes:
    """`text`, encrypted and authenticated; the same text gives another blob each time."""
    nonce, key = secrets.token_bytes(_NONCE_BYTES), ring.first
    return sealed_by(key) + nonce + AESGCM(key.secret).encrypt(nonce, text.encode(), None)


def open_sealed(ring: KeyRing, blob: bytes) -> str:
    """The text of a sealed blob. Raises SecretUnreadable for another key or a changed blob."""
    keys = ring.keys
    for key in keys:
        if blob.startswith(prefix := sealed_by(key)) and (text := _opened(key, blob[len(prefix) :])) is not None:
            return text
    for key in keys:
        if (text := _opened(key, blob)) is not None:
            return text
    raise SecretUnreadable("the secret was sealed with another key, or was changed")


def _opened(key: Key, blob: bytes) -> str | None:
    try:
        return AESGCM(key.secret).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError):
        return None

"""Secrets at rest: sealed with AES-256-GCM under a key that lies in a file of its own, not in the database."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D §5.2.1.1
_KEY_BYTES = 32


class SecretUnreadable(ValueError):
    """The blob was not sealed with this key."""


def load_key(state_dir: Path) -> bytes:
    """The process's key from `state_dir`/key, made on first use and readable by its owner alone.

    Two processes that start at once get the same key: the file appears under its name only when it is whole.
    """
    file = state_dir / "key"
    if not file.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        partial = state_dir / f"key.{secrets.token_hex(8)}"
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, secrets.token_bytes(_KEY_BYTES))
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(partial, file)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise SecretUnreadable(f"{file} holds {len(key)} bytes; a key has {_KEY_BYTES}")
    return key


def seal(key: bytes, text: str) -> bytes:
    """`text`, encrypted and authenticated; the same text gives another blob each time."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text.encode(), None)


def open_sealed(key: bytes, blob: bytes) -> str:
    """The text of a sealed blob. Raises SecretUnreadable for another key or a changed blob."""
    try:
        return AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError) as err:
        raise SecretUnreadable("the secret was sealed with another key, or was changed") from err

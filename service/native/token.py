"""Tokens of native installers: boot tokens of a kind of their own, which are none to the agent."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from service.boot.token import BootToken, issue, read


def _key(key: bytes) -> bytes:
    return hmac.digest(key, b"native installer", hashlib.sha256)


def issue_native(key: bytes, port_id: UUID, *, now: datetime) -> str:
    """A token for the installer that boots at the port now."""
    return issue(_key(key), port_id, now=now, nonce=secrets.token_bytes(8))


def read_native(keys: Iterable[bytes], token: str, port_id: UUID, *, now: datetime) -> BootToken:
    """The token, if it was made with one of the keys and is good for that port at that moment. Raises BadToken."""
    return read(map(_key, keys), token, port_id, now=now)

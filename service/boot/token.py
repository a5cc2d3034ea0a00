"""Boot tokens: what an installer says hello with, once. Pure.

A token is made without the database, so that a machine boots while that is away; that it was used is kept there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

LIFE = timedelta(hours=1)  # from the boot script to the hello: the slowest firmware loads its files within it
SKEW = timedelta(minutes=10)  # by which the clocks of two boot nodes may differ

_NONCE_BYTES = 8
_SEAL_BYTES = 16
_BODY_BYTES = 16 + 8 + _NONCE_BYTES


class BadToken(ValueError):
    """The token is none of ours, of another port, or too old."""


@dataclass(frozen=True, slots=True)
class BootToken:
    """What a token says."""

    port_id: UUID
    issued_at: datetime
    key: bytes = field(repr=False)  # that it was made with


def digest(secret: str) -> bytes:
    """How tokens and sessions are kept."""
    return hashlib.sha256(secret.encode()).digest()


def issue(key: bytes, port_id: UUID, *, now: datetime, nonce: bytes) -> str:
    """A token for the port: 64 characters of base64 for URLs. `nonce` is 8 random bytes."""
    micros = (now - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    body = port_id.bytes + micros.to_bytes(8, "big") + nonce
    return base64.urlsafe_b64encode(body + _seal(key, body)).decode()


def read(keys: Iterable[bytes], token: str, port_id: UUID, *, now: datetime) -> BootToken:
    """The token, if it was made with one of the keys and is good for that port at that moment. Raises BadToken."""
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        raise BadToken("this is no boot token") from None
    body, seal = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    made = [key for key in keys if hmac.compare_digest(seal, _seal(key, body))]
    if len(body) != _BODY_BYTES or not made:
        raise BadToken("this is no boot token of ours")
    found = BootToken(UUID(bytes=body[:16]), _moment(int.from_bytes(body[16:24], "big")), made[0])
    if found.port_id != port_id:
        raise BadToken("the boot token is another port's")
    if not now - LIFE - SKEW <= found.issued_at <= now + SKEW:
        raise BadToken(f"the boot token is of {found.issued_at:%H:%M:%S} UTC, and good for {LIFE}")
    return found


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def _seal(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"boot token:" + body, hashlib.sha256)[:_SEAL_BYTES]

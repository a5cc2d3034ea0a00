"""How a delivery is signed: as Standard Webhooks 1.0.0 says it, so that ready-made verifiers fit.

The signature is HMAC-SHA256 over `ID.TIMESTAMP.BODY`, keyed with the bytes that the secret's base64 stands for. The
header has one signature for each secret that is good now, separated by blanks: a receiver needs one of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32
_DIGITS = 12  # of seconds since 1970
TOLERANCE_S = 300  # a receiver refuses what is older: it may be a repeat of somebody else's


class BadSignature(ValueError):
    """The delivery is not what the holder of the secret signed, or too old."""


def new_secret() -> str:
    """A secret to sign with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(id_: str, timestamp: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers of a delivery. `timestamp` is in whole seconds since 1970, UTC."""
    signatures = " ".join(_signature(id_, timestamp, body, key) for key in keys)
    return {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def verify(headers: Mapping[str, str], body: bytes, key: str, *, now: float) -> None:
    """What a receiver does. Raises BadSignature."""
    try:
        id_, moment, given = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError:
        raise BadSignature(
            "the headers webhook-id, webhook-timestamp and webhook-signature are not all there"
        ) from None
    if not (id_.isascii() and moment.isascii() and moment.isdecimal() and len(moment) <= _DIGITS and given.isascii()):
        raise BadSignature("webhook-id, webhook-timestamp or webhook-signature is not what it should be")
    timestamp = int(moment)
    if abs(now - timestamp) > TOLERANCE_S:
        raise BadSignature(f"it was signed {now - timestamp:.0f} s ago; allowed are {TOLERANCE_S}")
    expected = _signature(id_, timestamp, body, key)
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in given.split()):
        raise BadSignature("no signature is that of the body")


def _signature(id_: str, timestamp: int, body: bytes, key: str) -> str:
    try:
        secret = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise BadSignature("the secret is no base64") from None
    mac = hmac.new(secret, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()

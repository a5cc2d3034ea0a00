"""What is known of a machine, for its maker: gathered, freed of secrets, and signed (Ed25519, RFC 8032). Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from service.secrets import KeyRing

_SECRET = ("password", "passphrase", "secret", "token", "private", "userdata", "ssh_keys", "keys")
_HIDDEN = "(removed)"


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """The evidence as it is signed and handed out: JSON in UTF-8, keys in order, without secrets."""
    return json.dumps(_cleaned(evidence), indent=1, sort_keys=True, ensure_ascii=False, default=_plain)


def _cleaned(value: object) -> object:
    if isinstance(value, Mapping):
        return {
            str(name): _HIDDEN if any(word in str(name).lower() for word in _SECRET) else _cleaned(part)
            for name, part in value.items()
        }
    return [_cleaned(part) for part in value] if isinstance(value, list | tuple) else value


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _signing(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(secret, b"roundhouse evidence", hashlib.sha256))


def public_key(ring: KeyRing) -> str:
    """What the signature is verified with, PEM: with openssl pkeyutl -verify -rawin, for example."""
    return _pem(ring.first.secret)


def _pem(secret: bytes) -> str:
    return _signing(secret).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(ring: KeyRing, text: str) -> bytes:
    """The signature of the text."""
    return _signing(ring.first.secret).sign(text.encode())


def signer(ring: KeyRing, text: str, signature: bytes) -> str | None:
    """The public key, of those that we have, by which the signature is good; None for a changed text."""
    return next((pem for pem in map(_pem, ring.secrets) if verified(pem, text, signature)), None)


def verified(pem: str, text: str, signature: bytes) -> bool:
    """Whether the signature of the text is good by the public key."""
    key: Any = load_pem_public_key(pem.encode())
    try:
        key.verify(signature, text.encode())
    except InvalidSignature:
        return False
    return True

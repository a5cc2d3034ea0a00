"""OpenSSH public keys: one line `type base64 comment` (RFC 4253 §6.6, RFC 5656, RFC 8709; PROTOCOL.u2f for sk-)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

_LEAST_RSA_BITS = 1024  # OpenSSH's own RequiredRSASize default
_SECURITY_KEYS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    *_SECURITY_KEYS,
)


class BadKey(ValueError):
    """The text is no public key that sshd would take."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that was checked. `line` is what goes into authorized_keys; `fingerprint` is MD5 as 16 pairs."""

    line: str
    fingerprint: str


def parse_public_key(text: str) -> PublicKey:
    """Check one key. Raises BadKey with the reason; options before the type and further lines are refused."""
    line = text.strip()
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in line.replace("\t", " ")):
        raise BadKey("it has more than one line")
    words = line.split(None, 2)
    if not words or words[0] not in TYPES:
        raise BadKey(f"it must begin with one of {', '.join(TYPES)}")
    if len(words) < 2:
        raise BadKey("the base64 part is missing")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("its second word is not base64") from None
    fields = _fields(blob)
    if not fields or fields[0] != words[0].encode():
        raise BadKey(f"its base64 part does not hold a key of type {words[0]}")
    if words[0] in _SECURITY_KEYS:
        _check_security_key(words[0], fields)
    else:
        _check_with_cryptography(f"{words[0]} {words[1]}")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return PublicKey(" ".join(words), ":".join(digest[place : place + 2] for place in range(0, 32, 2)))


def _fields(blob: bytes) -> list[bytes]:
    """The blob's length-prefixed strings (RFC 4251 §5)."""
    found, place = [], 0
    while place < len(blob):
        if len(blob) - place < 4:
            raise BadKey("its base64 part is cut off")
        (length,) = struct.unpack_from(">I", blob, place)
        place += 4 + length
        if place > len(blob):
            raise BadKey("its base64 part is cut off")
        found.append(blob[place - length : place])
    return found


def _check_security_key(kind: str, fields: list[bytes]) -> None:
    if kind == "sk-ssh-ed25519@openssh.com":
        if len(fields) != 3 or len(fields[1]) != 32:
            raise BadKey("its base64 part does not hold an Ed25519 security key")
    elif len(fields) != 4 or fields[1] != b"nistp256" or len(fields[2]) != 65:
        raise BadKey("its base64 part does not hold an ECDSA security key")


def _check_with_cryptography(line: str) -> None:
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as err:
        raise BadKey(f"its base64 part does not hold a key: {err}") from None
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise BadKey(f"RSA keys need {_LEAST_RSA_BITS} bits at least; this one has {key.key_size}")

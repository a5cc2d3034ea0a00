"""The key that an installed system encrypts its new password with, before it tells it over plain HTTP."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

NAME = "phone_home_key"
# Characters of a password. For a text with the wrong padding OpenSSL makes bytes up, which a few only may look right.
_SHORTEST, _LONGEST = 6, 128
# The two paddings of RFC 8017 (§7) that openssl and .NET know without being told more. OAEP comes first: it says so
# when it does not fit, while the older one may give any bytes.
_PADDINGS = (padding.OAEP(padding.MGF1(SHA1()), SHA1(), None), padding.PKCS1v15())


class NotForUs(ValueError):
    """The text was not encrypted with our key, or is no password."""


def make_key() -> str:
    """A new key in PEM; it takes a moment."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(private_pem: str) -> str:
    """The public half in PEM."""
    return _read(private_pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def decrypted(private_pem: str, encrypted: bytes) -> str:
    """The password. Raises NotForUs."""
    key = _read(private_pem)
    for way in _PADDINGS:
        try:
            text = key.decrypt(encrypted, way).decode()
        except ValueError:
            continue
        if _SHORTEST <= len(text) <= _LONGEST and text.isprintable():
            return text
    raise NotForUs("password is not valid: it was not encrypted with the key of /phone-home/key")


def _read(private_pem: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(private_pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key

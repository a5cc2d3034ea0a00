"""Signatures of releases: Ed25519 (RFC 8032) over the canonical JSON of what a release is made of.

A release's statement holds the sha256 of every file; the map of an image holds that of every chunk. So a signature
reaches down to the last byte that is written to a disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from images.store import Artefact, canonical, described

_RAW_BYTES = 32
_ID_DIGITS = 16
_NOT_SIGNED = ("tested", "signatures")  # added after a release was published

PublicKeys = Mapping[str, Ed25519PublicKey]  # by id


class BadKey(ValueError):
    """A key cannot be read, or is none of Ed25519."""


class NotSigned(Exception):
    """No key that is trusted here has signed the release."""


def statement(artefact: Artefact) -> bytes:
    """What is signed: slug, id, time and everything that the release is made of."""
    entry = {name: value for name, value in described(artefact).items() if name not in _NOT_SIGNED}
    return canonical({"slug": artefact.slug, "id": artefact.id, "release": entry})


def key_id(public: Ed25519PublicKey) -> str:
    """A key's name: the first digits of its sha256."""
    return hashlib.sha256(_raw(public)).hexdigest()[:_ID_DIGITS]


def make_key(file: Path) -> str:
    """Write a new private key to a file that only its owner may read; the public key in base64.

    Raises FileExistsError: a key is never written over.
    """
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(pem)
    return public_text(private)


def private_key(file: Path) -> Ed25519PrivateKey:
    """The key in a file (PEM, PKCS #8). Raises BadKey."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as err:
        raise BadKey(f"{file}: {err.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise BadKey(f"{file} is no private key in PEM without a passphrase: {err}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{file} is no Ed25519 key")
    return key


def public_text(private: Ed25519PrivateKey) -> str:
    """The public key that belongs to it, in base64, as the setting `image_keys` takes it."""
    return base64.b64encode(_raw(private.public_key())).decode()


def public_keys(text: str) -> PublicKeys:
    """Public keys in base64, separated by commas or white space. Raises BadKey."""
    found = {}
    for word in text.replace(",", " ").split():
        try:
            raw = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            raise BadKey(f"{word!r} is no base64") from None
        if len(raw) != _RAW_BYTES:
            raise BadKey(f"{word!r} is no Ed25519 key: it has {len(raw)} bytes, not {_RAW_BYTES}")
        public = Ed25519PublicKey.from_public_bytes(raw)
        found[key_id(public)] = public
    return found


def sign(private: Ed25519PrivateKey, artefact: Artefact) -> dict[str, str]:
    """The release's signature by that key, for `store.annotate`."""
    signature = private.sign(statement(artefact))
    return {key_id(private.public_key()): base64.b64encode(signature).decode()}


def check(keys: PublicKeys, artefact: Artefact) -> str:
    """The id of a trusted key that has signed the release. Raises NotSigned, which says what is wrong."""
    name = f"{artefact.slug} release {artefact.id}"
    ours = [(known, artefact.signatures[known]) for known in keys if known in artefact.signatures]
    for known, text in ours:
        try:
            keys[known].verify(base64.b64decode(text, validate=True), statement(artefact))
        except (InvalidSignature, binascii.Error, ValueError):
            continue
        return known
    if ours:
        raise NotSigned(f"{name} has a wrong signature by {', '.join(known for known, _ in ours)}")
    by = f" (only by {', '.join(artefact.signatures)})" if artefact.signatures else ""
    raise NotSigned(f"{name} is not signed by any of the keys {', '.join(keys)}{by}")


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)

"""Passwords for installed systems, in the form that /etc/shadow takes.

Python's own `crypt` left the standard library with 3.13, so the scheme is written out here after its specification
(Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", 2008); the tests hold it against OpenSSL's.
"""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Many rounds slow down the guessing of a human's password. These are random and long, so the scheme's least will do.
_ROUNDS = 1000
_SALT_LENGTH = 16
_PASSWORD_BYTES = 15  # 120 bits; 20 characters


def new_password() -> str:
    """A random password without characters that need quoting."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def new_salt() -> str:
    """A random salt of the length that the scheme takes at most."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SALT_LENGTH))


def sha512_crypt(password: str, salt: str, rounds: int = _ROUNDS) -> str:
    """The `$6$` hash of a password; `rounds` is 1000 at least, `salt` up to 16 characters of ./0-9A-Za-z."""
    word, seasoning = password.encode(), salt.encode()
    inner = hashlib.sha512(word + seasoning + word).digest()
    mixed = hashlib.sha512(word + seasoning + _stretched(inner, len(word)))
    length = len(word)
    while length:
        mixed.update(inner if length & 1 else word)
        length >>= 1
    digest = mixed.digest()
    p = _stretched(hashlib.sha512(word * len(word)).digest(), len(word))
    s = _stretched(hashlib.sha512(seasoning * (16 + digest[0])).digest(), len(seasoning))
    for number in range(rounds):
        odd = number & 1
        digest = hashlib.sha512(
            (p if odd else digest) + (s if number % 3 else b"") + (p if number % 7 else b"") + (digest if odd else p)
        ).digest()
    return f"$6$rounds={rounds}${salt}${_encoded(digest)}"


def _stretched(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encoded(digest: bytes) -> str:
    letters = []
    for turn in range(21):
        triple = [turn, turn + 21, turn + 42]
        shift = turn % 3
        first, second, third = (digest[place] for place in triple[shift:] + triple[:shift])
        letters.append(_base64(first << 16 | second << 8 | third, 4))
    letters.append(_base64(digest[63], 2))
    return "".join(letters)


def _base64(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 0x3F] for place in range(count))

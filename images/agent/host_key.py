"""An SSH host key for a system that has no root yet, in OpenSSH's form."""

from __future__ import annotations

import os
import struct
from binascii import b2a_base64

from images.agent import toolbox
from images.agent.errors import Malformed
from images.agent.shell import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_KIND: Final = b"ssh-ed25519"
_MADE: Final = "/run/host_key.dropbear"
_BLOCK: Final = 8  # what a private key without a cipher is padded to
_LINE: Final = 70


def new(comment: str) -> tuple[str, str]:
    """A new ed25519 key, made in RAM: the private half, and the public one as a line.

    Raises CommandFailed, OSError, Malformed, WorkFailed.
    """
    toolbox.need("dropbearkey")
    _forget()
    try:
        run(["dropbearkey", "-t", "ed25519", "-f", _MADE])
        with open(_MADE, "rb") as file:
            seed, public = read_dropbear(file.read())
    finally:
        _forget()
    return private_text(seed, public, comment, os.urandom(4)), public_line(public, comment)


def _forget() -> None:
    if os.path.exists(_MADE):
        os.unlink(_MADE)


def read_dropbear(data: bytes) -> tuple[bytes, bytes]:
    """Seed and public key (RFC 8032 §5.1.5) of a key file of dropbear, where they follow its kind. Raises Malformed."""
    head = _string(_KIND) + struct.pack(">I", 64)
    if not data.startswith(head) or len(data) != len(head) + 64:
        raise Malformed(f"a key file of {len(data)} bytes is no ed25519 key of dropbear")
    return data[-64:-32], data[-32:]


def public_line(public: bytes, comment: str) -> str:
    """The public half as one line (RFC 8709 §4)."""
    return f"{_KIND.decode()} {b2a_base64(_blob(public), newline=False).decode()} {comment}"


def private_text(seed: bytes, public: bytes, comment: str, check: bytes) -> str:
    """The private half as `ssh-keygen` writes it without a passphrase ("openssh-key-v1", OpenSSH's PROTOCOL.key).

    `check` are four bytes that stand there twice, by which a wrong passphrase would be noticed.
    """
    inner = check + check + _string(_KIND) + _string(public) + _string(seed + public) + _string(comment.encode())
    inner += bytes(range(1, -len(inner) % _BLOCK + 1))
    outer = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"") + struct.pack(">I", 1)
    text = b2a_base64(outer + _string(_blob(public)) + _string(inner), newline=False).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def _blob(public: bytes) -> bytes:
    return _string(_KIND) + _string(public)


def _string(data: bytes) -> bytes:
    """A string of RFC 4251 §5."""
    return struct.pack(">I", len(data)) + data

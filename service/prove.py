"""Seen from outside: the host key that an address shows to whoever connects by SSH."""

from __future__ import annotations

import asyncio

import asyncssh

_LIMIT_S = 10.0


async def see_host_key(address: str, port: int) -> str | None:
    """The ed25519 host key shown at `address`, in OpenSSH form; None where no SSH server answers within 10 s.

    Only the key exchange is done (RFC 4253 §8): no user is named and nothing is sent.
    """
    try:
        async with asyncio.timeout(_LIMIT_S):
            key = await asyncssh.get_server_host_key(address, port, server_host_key_algs=["ssh-ed25519"], config=[])
    except (OSError, asyncssh.Error, TimeoutError):
        return None
    return None if key is None else key.export_public_key("openssh").decode().strip()

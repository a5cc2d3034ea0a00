"""A leaf's port as a real machine's card hears it by LLDP (IEEE 802.1AB-2016 §8)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from service.lab.parts import LeafPort

log = structlog.get_logger()

_ETHERTYPE = 0x88CC
_GROUP = bytes.fromhex("0180c200000e")  # §7.1: the nearest bridge
_TTL_S = 120
_EVERY_S = 5.0  # switches wait 30 s, which a test need not


def unit(leaf: str, port: str) -> bytes:
    """The LLDP data unit that a leaf sends from one port: chassis and port by name, time to live, system name."""
    told = (
        (1, b"\x07" + leaf.encode()),  # chassis id, subtype 7: locally assigned
        (2, b"\x05" + port.encode()),  # port id, subtype 5: the interface's name
        (3, _TTL_S.to_bytes(2, "big")),
        (5, leaf.encode()),
        (0, b""),
    )
    return b"".join((kind << 9 | len(value)).to_bytes(2, "big") + value for kind, value in told)


@asynccontextmanager
async def serve_lldp(port: LeafPort, interface: str) -> AsyncIterator[None]:
    """Say over a tap who the leaf is, while the block runs; needs root. Raises OSError."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE))
    try:
        wire.bind((interface, _ETHERTYPE))
        source = wire.getsockname()[4]
        frame = _GROUP + source + _ETHERTYPE.to_bytes(2, "big") + unit(port.leaf, port.name)
        task = asyncio.create_task(_speak(wire, frame), name=f"lldp-{interface}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        wire.close()


async def _speak(wire: socket.socket, frame: bytes) -> None:
    while True:
        with contextlib.suppress(OSError):  # nobody listens while the machine is off
            wire.send(frame)
        await asyncio.sleep(_EVERY_S)

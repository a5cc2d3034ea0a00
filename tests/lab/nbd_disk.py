"""A disk over the Network Block Device protocol that QEMU takes for a drive: it may lie, and it may be slow.

The protocol is that of the NBD project's doc/proto.md: fixed newstyle negotiation, simple replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_OPTION_MAGIC, _REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
_GO, _INFO_REPLY, _ACK, _UNSUPPORTED = 7, 3, 1, 1 << 31 | 1
_READ, _WRITE, _DISCONNECT, _WRITE_ZEROES = 0, 1, 2, 6
_FLAGS = 1 | 4 | 8 | 32 | 64  # flush, FUA, trim and write-zeroes are known


@dataclass(slots=True)
class NbdDisk:
    """A file as a disk. A liar answers that all is done, and keeps its data."""

    path: Path
    liar: bool = False
    writes: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(b"NBDMAGIC" + struct.pack(">QH", _OPTION_MAGIC, 3))
            await reader.readexactly(4)
            while not await self._negotiate(reader, writer):
                pass
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, option, length = struct.unpack(">QII", await reader.readexactly(16))
        await reader.readexactly(length)
        if option != _GO:
            writer.write(struct.pack(">QIII", _REPLY_MAGIC, option, _UNSUPPORTED, 0))
            return False
        told = struct.pack(">HQH", 0, self.path.stat().st_size, _FLAGS)
        writer.write(struct.pack(">QIII", _REPLY_MAGIC, option, _INFO_REPLY, len(told)) + told)
        writer.write(struct.pack(">QIII", _REPLY_MAGIC, option, _ACK, 0))
        return True

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, _, kind, handle, offset, length = struct.unpack(">IHHQQI", await reader.readexactly(28))
        if kind == _DISCONNECT:
            return False
        data = await reader.readexactly(length) if kind == _WRITE else bytes(length) if kind == _WRITE_ZEROES else b""
        answer = b""
        with self.path.open("r+b") as file:
            file.seek(offset)
            if kind == _READ:
                answer = file.read(length)
            elif data:
                self.writes += 1
                if not self.liar:
                    file.write(data)
        writer.write(struct.pack(">IIQ", 0x67446698, 0, handle) + answer)
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def nbd_disk(disk: NbdDisk) -> AsyncIterator[str]:
    """Serve it while the block runs; QEMU's name of it."""
    socket = disk.path.with_suffix(".nbd")
    server = await asyncio.start_unix_server(disk.serve, socket)
    try:
        yield f"nbd:unix:{socket}"
    finally:
        server.close()

"""A target by iSCSI (RFC 7143), whose logical units are scripted disks: QEMU hands a guest's commands on to them.

One session, one connection, no digests, no authentication: what QEMU's initiator asks for and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from tests.images.scripted_scsi import ScsiDisk

NAME = "iqn.2026-01.test.roundhouse:scripted"
_LOGIN, _TEXT, _COMMAND, _DATA_OUT, _LOGOUT, _TASK, _NOP = 0x03, 0x04, 0x01, 0x05, 0x06, 0x02, 0x00
_NO_TAG = 0xFFFFFFFF
_OURS = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxBurstLength": "16776192",
    "FirstBurstLength": "16776192",
    "MaxConnections": "1",
    "MaxOutstandingR2T": "1",
    "ErrorRecoveryLevel": "0",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "DefaultTime2Wait": "0",
    "DefaultTime2Retain": "0",
    "AuthMethod": "None",
}


@dataclass(slots=True)
class _Connection:
    """One initiator's connection."""

    units: Sequence[ScsiDisk]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status_number: int = 1
    command_number: int = 1
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self) -> tuple[bytes, bytes]:
        """A PDU: header and data."""
        header = await self.reader.readexactly(48)
        length = int.from_bytes(header[5:8], "big")
        await self.reader.readexactly(4 * header[4])
        data = await self.reader.readexactly(length + -length % 4)
        return header, data[:length]

    def send(self, opcode: int, flags: int, two: bytes, lun_tag: bytes, rest: bytes, data: bytes = b"") -> None:
        """A PDU: `two` are bytes 2 and 3, `lun_tag` bytes 8 to 19, `rest` 20 to 47."""
        header = bytes([opcode, flags]) + two + len(data).to_bytes(4, "big") + lun_tag + rest
        assert len(header) == 48
        self.writer.write(header + data + bytes(-len(data) % 4))

    def numbers(self, *, counts: bool = True) -> bytes:
        """StatSN, ExpCmdSN, MaxCmdSN."""
        packed = struct.pack(">III", self.status_number, self.command_number, self.command_number + 64)
        self.status_number += counts
        return packed

    async def serve(self) -> None:
        while True:
            header, data = await self.read()
            opcode, immediate = header[0] & 0x3F, header[0] & 0x40
            if opcode in (_COMMAND, _LOGIN, _TEXT, _LOGOUT, _TASK, _NOP) and (not immediate or opcode == _LOGIN):
                self.command_number = int.from_bytes(header[24:28], "big") + (not immediate)
            tag = header[8:20]
            if opcode == _LOGIN:
                self.login(header, data)
            elif opcode == _COMMAND:
                await self.command(header, data)
            elif opcode == _NOP:
                self.send(0x20, 0x80, b"\0\0", tag, struct.pack(">I", _NO_TAG) + self.numbers() + bytes(12), data)
            elif opcode in (_TASK, _LOGOUT):
                self.send(opcode | 0x20, 0x80, b"\0\0", bytes(8) + tag[8:], bytes(4) + self.numbers() + bytes(12))
                if opcode == _LOGOUT:
                    return
            await self.writer.drain()

    def login(self, header: bytes, data: bytes) -> None:
        asked = dict(pair.split("=", 1) for pair in data.decode().split("\0") if "=" in pair)
        answered = {key: _OURS[key] for key in asked if key in _OURS}
        if header[1] >> 2 & 3 == 1:  # of the operational stage
            answered["MaxRecvDataSegmentLength"] = "16776192"
        if "TargetName" in asked:
            answered["TargetPortalGroupTag"] = "1"
        text = "".join(f"{key}={value}\0" for key, value in answered.items()).encode()
        rest = header[20:24] + self.numbers() + bytes(12)
        session = header[8:14] + b"\0\1" + header[16:20]
        self.send(0x23, header[1] & 0x8F, b"\0\0", session, rest, text)

    async def command(self, header: bytes, data: bytes) -> None:
        expected = int.from_bytes(header[20:24], "big")
        cdb, tag, unit = header[32:48], header[8:20], self.units[header[9]]
        if header[1] & 0x20:
            data = await self.fetch(header, data, expected)
        status, sense, answer = unit.execute(cdb, data)
        answer = answer[:expected] if header[1] & 0x40 else b""
        if answer:
            numbers = self.numbers(counts=False)
            rest = struct.pack(">I", _NO_TAG) + numbers + bytes(12)
            self.send(0x25, 0x80, b"\0\0", tag, rest, answer)
        moved = len(answer) if header[1] & 0x40 else len(data)
        underflow = 0x02 if moved < expected else 0
        told = struct.pack(">H", len(sense)) + sense if sense else b""
        rest = bytes(4) + self.numbers() + struct.pack(">III", 1 if answer else 0, 0, max(0, expected - moved))
        self.send(0x21, 0x80 | underflow, bytes([0, status]), bytes(8) + tag[8:], rest, told)

    async def fetch(self, header: bytes, data: bytes, expected: int) -> bytes:
        """The rest of what a command writes, asked for by one R2T."""
        if len(data) < expected:
            asked = struct.pack(">III", 0, len(data), expected - len(data))
            rest = struct.pack(">I", 1) + self.numbers(counts=False) + asked
            self.send(0x31, 0x80, b"\0\0", header[8:20], rest)
            await self.writer.drain()
        while len(data) < expected:
            pdu, piece = await self.read()
            assert pdu[0] & 0x3F == _DATA_OUT
            data += piece
        return data


@contextlib.asynccontextmanager
async def iscsi_target(units: Sequence[ScsiDisk]) -> AsyncIterator[list[str]]:
    """Serve them while the block runs; QEMU's names of the units."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await _Connection(units, reader, writer).serve()
        tasks.discard(task)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield [f"iscsi://127.0.0.1:{port}/{NAME}/{number}" for number in range(len(units))]
    finally:
        server.close()
        for task in tasks:
            task.cancel()

"""A machine's console by Serial over LAN (IPMI 2.0 §15): an ipmitool on a terminal, which ends with the block."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import tty
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from service.power.console import SolConsole
from service.power.errors import BmcRefused, BmcUnreachable

_READY = re.compile(rb"\[SOL Session operational\.[^\n]*\]\r?\n")
_READY_S = 30.0
_LEAVE_S = 5.0  # to tell the BMC that the session is over
_ESCAPE = b"~"  # ipmitool heeds it at a line's beginning alone, and sends one for two of them
_ENDS = b"\r\n"


@dataclass(slots=True)
class Escaped:
    """What ipmitool must be given so that the machine gets exactly what was typed. Pure."""

    at_start: bool = True  # of a line, as ipmitool sees it

    def of(self, data: bytes) -> bytes:
        """The bytes for ipmitool; a line may come in pieces."""
        told = bytearray()
        for byte in data:
            if self.at_start and byte == _ESCAPE[0]:
                told += _ESCAPE
            told.append(byte)
            self.at_start = byte in _ENDS
        return bytes(told)


@dataclass(frozen=True, slots=True)
class SolUpstream:
    """An open session."""

    reader: StreamReader
    writer: StreamWriter
    printed: bytearray  # that came along with ipmitool's own words
    escaped: Escaped = field(default_factory=Escaped)

    async def read(self) -> bytes:
        """What the machine printed; empty, or OSError, when ipmitool has ended."""
        if self.printed:
            first = bytes(self.printed)
            self.printed.clear()
            return first
        return await self.reader.read(16384)

    async def write(self, data: bytes) -> None:
        """Type. Raises OSError."""
        self.writer.write(self.escaped.of(data))
        await self.writer.drain()

    def send_break(self) -> None:
        """A BREAK, of the BMC's length. Raises OSError within a line, where ipmitool takes no commands."""
        if not self.escaped.at_start:
            raise OSError("ipmitool sends a BREAK at the beginning of a line alone")
        self.writer.write(_ESCAPE + b"B")


@asynccontextmanager
async def open_sol(console: SolConsole) -> AsyncIterator[SolUpstream]:
    """The session while the block runs. Raises BmcRefused, BmcUnreachable, OSError."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", 0) as printed, os.fdopen(os.dup(ours), "wb", 0) as typed:
        try:
            tty.setraw(its)
            process = await asyncio.create_subprocess_exec(
                *console.words,
                stdin=its,
                stdout=its,
                stderr=asyncio.subprocess.PIPE,
                env=console.environment,
                start_new_session=True,
            )
        finally:
            os.close(its)
        assert process.stderr is not None
        said = asyncio.create_task(process.stderr.read(), name="sol stderr")
        try:
            async with _streams(printed, typed) as (reader, writer):
                yield SolUpstream(reader, writer, bytearray(await _ready(reader, said)))
        finally:
            await _end(process)
            said.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its terminal is closed: it tells the BMC that the session is over. One that does not end by that is killed."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def _streams(printed: IO[bytes], typed: IO[bytes]) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Both directions of a terminal, which is closed at the end."""
    loop = asyncio.get_running_loop()
    with printed, typed:
        reader = StreamReader()
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), printed)
        try:
            writing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, typed)
            try:
                yield reader, StreamWriter(writing, flow, reader, loop)
            finally:
                writing.abort()
        finally:
            reading.close()


async def _ready(reader: StreamReader, said: asyncio.Task[bytes]) -> bytes:
    """What the machine has printed by when ipmitool says that the session stands."""
    shown = b""
    try:
        async with asyncio.timeout(_READY_S):
            while (ready := _READY.search(shown)) is None:
                data = await reader.read(16384)
                if not data:
                    raise OSError("ipmitool has ended")
                shown += data
    except TimeoutError:
        raise BmcUnreachable(f"no console by Serial over LAN within {_READY_S:.0f} s") from None
    except OSError:
        lines = (await said).decode(errors="replace").strip().splitlines()
        raise BmcRefused(f"no console by Serial over LAN: {lines[-1] if lines else 'no reason given'}") from None
    return shown[: ready.start()] + shown[ready.end() :]

"""One person at one console: shows what is printed, types what may be typed, and ends as soon as it is not theirs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncssh
import structlog

from service.parts import Parts
from service.sos.escape import HELP, NAME, Command, Typed
from service.sos.lines import Line, Lines
from service.store.console import (
    Access,
    access_of,
    begin_session,
    end_session,
    session_seen,
    take_keyboard,
    writer_of,
)
from service.store.notify import Hub, Watch
from service.store.rows import AWAY, Pool
from sql.loader import Q

log = structlog.get_logger()

_LOOK_AGAIN_S = 5.0  # whether it is theirs still, besides each time that something is told of it
_PIECE = 16 << 10  # bytes written at once: what a slow reader has not taken yet is not read ahead for it
_TELL_AGAIN_S = 2.0  # why nothing can be typed
_MOST = 8  # sessions at one console


@dataclass(frozen=True, slots=True)
class Login:
    """Who has logged in: the name and the key (type and base64) that were given, and what they open."""

    name: str
    key: str
    fingerprint: str
    source: str
    access: Access


class Session:
    """A login's session; `run` is its whole life."""

    def __init__(
        self,
        db: Pool,
        parts: Parts,
        hub: Hub,
        lines: Lines,
        login: Login,
        process: asyncssh.SSHServerProcess[bytes],
    ) -> None:
        self._db, self._parts, self._hub, self._lines = db, parts, hub, lines
        self._login, self._process = login, process
        self._access = login.access
        self._id: UUID | None = None
        self._watch = Watch()
        self._line: Line | None = None
        self._place = 0
        self._writes = self._wrote = False
        self._told = ""
        self._told_at = 0.0

    async def run(self) -> None:
        """From the greeting to the end, which is told to whoever can still hear it."""
        db, login = self._db, self._login
        count = await db.fetchval(Q["open_console_sessions_count"], login.access.machine_id, login.access.device_id)
        if count >= _MOST:
            self._note(f"{_MOST} sessions are at this console already")
            return
        self._id = await begin_session(db, login.access, login.fingerprint, login.source, now=self._now())
        try:
            await self._begin()
            tasks = [asyncio.create_task(work) for work in (self._show(), self._take(), self._guard(), self._gone())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                with suppress(OSError, asyncssh.Error):
                    self._note(next(iter(done)).result())
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._look_at(None)
            with suppress(*AWAY):
                await end_session(db, self._id, self._access, login.source, now=self._now())

    def _now(self) -> datetime:
        return self._parts.clock.now()

    def _note(self, text: str) -> None:
        """Something of ours between what the machine prints."""
        self._process.stdout.write(f"\r\n[{text}]\r\n".encode())

    async def _begin(self) -> None:
        access = self._access
        what = f"{access.name} ({access.device_id})" if access.device_id else f"machine {access.name}"
        greeting = f"Console of {what}. {NAME} . leaves, {NAME} t takes the keyboard, {NAME} ? tells more."
        self._process.stdout.write(greeting.encode() + b"\r\n")
        self._look_at(access.machine_id)
        if access.may_type and access.machine_id is not None and await self._keyboard(force=False):
            self._note("you have the keyboard")
        else:
            self._note(await self._why_not())
        if self._line is not None and (kept := self._line.ring.end - self._place):
            self._note(f"the last {kept} bytes of output follow")

    def _look_at(self, machine_id: UUID | None) -> None:
        if self._line is not None:
            self._lines.leave(self._line, self._watch)
        self._line = None if machine_id is None else self._lines.look(machine_id, self._watch)
        if self._line is not None:
            self._place = self._line.place_for(None if self._access.staff else self._access.device_id)
        self._watch.wake()

    async def _show(self) -> str:
        told: str | None = None
        while True:
            line = self._line
            lost, data = (0, b"") if line is None else line.ring.read(self._place, _PIECE)
            if lost:
                self._note(f"{lost} bytes of output are left out: they came faster than they were read")
            if data:
                self._place += lost + len(data)
                self._process.stdout.write(data)
                await self._process.stdout.drain()
                continue
            trouble = "has no machine now" if line is None else line.trouble
            if trouble != told:
                told = trouble
                self._note(f"the console {trouble}" if trouble else "connected")
            await self._watch.changed(_LOOK_AGAIN_S)

    async def _take(self) -> str:
        typed = Typed()
        while True:
            try:
                data = await self._process.stdin.read(4096)
            except asyncssh.BreakReceived:
                await self._command(Command.BREAK)
                continue
            except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived):
                continue
            if not data:
                await asyncio.Event().wait()  # it may be looked at without a keyboard
            for piece in typed.read(data):
                if piece is Command.LEAVE:
                    return "you have left"
                if isinstance(piece, Command):
                    await self._command(piece)
                elif await self._may_type():
                    await self._type(piece)

    async def _command(self, command: Command) -> None:
        match command:
            case Command.HELP:
                self._note("; ".join(f"{NAME} {char}: {text}" for char, text in HELP))
            case Command.TAKE_OVER if not self._access.may_type or self._line is None:
                self._note(await self._why_not())
            case Command.TAKE_OVER:
                await self._keyboard(force=True)
                self._note("you have the keyboard")
            case Command.BREAK:
                if await self._may_type() and self._line is not None:
                    sent = await self._line.send_break()
                    self._note("BREAK sent" if sent else "the BREAK could not be sent")

    async def _may_type(self) -> bool:
        """Whether the keyboard is ours, or free; why not is told now and then."""
        if self._writes and self._access.may_type:
            return True
        now = asyncio.get_running_loop().time()
        if now - self._told_at < _TELL_AGAIN_S:
            return False
        self._told_at = now
        if self._access.may_type and self._line is not None and await self._keyboard(force=False):
            return True
        self._note(await self._why_not())
        return False

    async def _why_not(self) -> str:
        access = self._access
        if access.machine_id is None:
            return f"the device is {access.state} and has no machine now; its console follows when it has"
        if not access.may_type:
            return f"the device is {access.state}: you look on until it is active"
        writer = await writer_of(self._db, access.machine_id)
        if writer is None:
            return "the keyboard is free"
        who = "an operator" if writer.email and not access.staff else writer.email or "a key of the device"
        since = f"{writer.started_at:%H:%M:%S} UTC"
        return f"you look on: {who} has the keyboard since {since}, from {writer.source}; {NAME} t takes it"

    async def _keyboard(self, *, force: bool) -> bool:
        assert self._id is not None and self._line is not None
        machine_id = self._line.machine_id
        self._writes = await take_keyboard(self._db, self._id, machine_id, force=force, now=self._now())
        return self._writes

    async def _type(self, data: bytes) -> None:
        if self._line is None or not await self._line.type(data):
            self._note("the console does not take what is typed")
        elif not self._wrote:
            self._wrote = True
            await self._db.execute(Q["console_session_wrote"], self._id)

    async def _guard(self) -> str:
        """Look again whether it is theirs still, whenever something happened to device or keyboard; why it ended."""
        while True:
            topics = [f"console:{self._access.machine_id}"]
            topics += [f"device:{self._access.device_id}"] if self._access.device_id is not None else []
            machine_id = self._access.machine_id
            async with self._hub.watch(*topics) as news:
                while self._access.machine_id == machine_id:
                    try:
                        if (ended := await self._check()) is not None:
                            return ended
                    except AWAY as err:
                        log.warning("console_session_unchecked", reason=str(err) or type(err).__name__)
                    await news.changed(_LOOK_AGAIN_S)

    async def _check(self) -> str | None:
        now = await access_of(self._db, self._login.name, self._login.key)
        if now is None or not self._login.access.still(now):
            return "this console is yours no longer"
        before, self._access = self._access, now
        assert self._id is not None
        if now.machine_id != before.machine_id:
            self._look_at(now.machine_id)
            self._note("the device has another machine" if now.machine_id else "the device has no machine now")
        had, self._writes = self._writes, await session_seen(self._db, self._id, now.machine_id, now=self._now())
        if had and not self._writes:
            self._note(await self._why_not())
        if now.may_type and not before.may_type and self._line is not None:
            has = await self._keyboard(force=False)
            self._note(f"the device is {now.state}: {'you have the keyboard' if has else await self._why_not()}")
        elif before.may_type and not now.may_type:
            self._note(await self._why_not())
        return None

    async def _gone(self) -> str:
        await self._process.wait_closed()
        return "gone"

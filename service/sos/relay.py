"""A console that another process is at: this process looks at it through that one's SSH server.

Processes know each other by the host key that they share: it is shown to the other as server and as client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import asyncssh

from service.sos.lease import Place
from service.sos.lines import Lines
from service.sos.upstream import NoConsole, SshUpstream
from service.store.notify import Watch

PREFIX = "relay."  # begins the name that a process logs in by; the machine's id follows
KEPT, LIVE = "kept", "live"  # what is asked for: also what was printed before, or what is printed from now on
_CONNECT_S = 5.0
_KEEPALIVE_S, _MISSED = 5.0, 2
_LOOK_AGAIN_S = 5.0
_PIECE = 16 << 10  # bytes


def relayed(name: str, key: str, own_key: str) -> UUID | None:
    """The machine that a login by this name and key asks for, if it is another process's."""
    if key != own_key or not name.startswith(PREFIX):
        return None
    try:
        return UUID(name.removeprefix(PREFIX))
    except ValueError:
        return None


@asynccontextmanager
async def open_relay(place: Place, key: asyncssh.SSHKey, machine_id: UUID, what: str) -> AsyncIterator[SshUpstream]:
    """The machine's console as the process there has it, while the block runs. Raises NoConsole."""
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(
                asyncssh.connect(
                    place.host,
                    place.port,
                    username=f"{PREFIX}{machine_id}",
                    client_keys=[key],
                    known_hosts=([key.convert_to_public()], [], []),
                    agent_path=None,
                    config=None,
                    preferred_auth="publickey",
                    connect_timeout=_CONNECT_S,
                    login_timeout=_CONNECT_S,
                    keepalive_interval=_KEEPALIVE_S,
                    keepalive_count_max=_MISSED,
                )
            )
            process: Any = await connection.create_process(what, encoding=None)
        except (asyncssh.Error, OSError) as err:
            raise NoConsole(f"the process at {place.host} {place.port} that has it: {err}") from err
        yield SshUpstream(process)


async def serve_relay(
    lines: Lines, machine_id: UUID, device_id: UUID | None, process: asyncssh.SSHServerProcess[bytes]
) -> None:
    """Show another process a console for as long as this one is at it; `device_id` is whose the machine is now."""
    line = lines.held(machine_id)
    if line is None:
        return
    watch = Watch()
    lines.look(machine_id, watch)
    place = line.place_for(device_id) if process.command == KEPT else line.ring.end

    async def show() -> None:
        nonlocal place
        while lines.held(machine_id) is line:
            lost, data = line.ring.read(place, _PIECE)
            place += lost + len(data)
            if data:
                process.stdout.write(data)
                await process.stdout.drain()
            else:
                await watch.changed(_LOOK_AGAIN_S)

    async def take() -> None:
        while True:
            try:
                data = await process.stdin.read(4096)
            except asyncssh.BreakReceived:
                await line.send_break()
                continue
            except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived):
                continue
            if not data or not await line.type(data):
                return

    tasks = [asyncio.create_task(work) for work in (show(), take(), process.wait_closed())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lines.leave(line, watch)

"""Two processes serve consoles, and a machine's BMC sees one session: whoever has it, and after that one was killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.lab.ports import free_port
from service.lab.up import Lab, LabSettings
from service.sos.server import public_host_key
from tests.lab.test_console import Person, Terminal
from tests.lab.world import lab, soon

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="the Debian package openssh-client is missing")


class Server:
    """A process that serves consoles."""

    def __init__(self, running: Lab, database_url: str) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        values = {
            "database_url": database_url,
            "state_dir": running.service.parts.settings.state_dir,
            "log_level": "error",
            "api_port": free_port(socket.SOCK_STREAM),
            "sos_port": self.port,
        }
        self._environment = os.environ | {f"ROUNDHOUSE_{name.upper()}": str(value) for name, value in values.items()}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it takes connections."""
        command = (sys.executable, "-W", "ignore", "-m", "service.cli.main", "serve", "--role", "api")
        self._process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.1)
                    continue
                writer.close()
                return

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        await self._process.wait()


@asynccontextmanager
async def two_servers(running: Lab, database_url: str) -> AsyncIterator[tuple[Server, Server]]:
    both = Server(running, database_url), Server(running, database_url)
    try:
        for server in both:
            await server.start()
        yield both
    finally:
        for server in both:
            await server.end(signal.SIGKILL)


async def holder(running: Lab) -> int | None:
    port: int | None = await running.service.db.fetchval("SELECT port FROM console_lease")
    return port


async def typed(terminal: Terminal, name: str) -> None:
    """Log in under the name, as often as it takes until the keyboard is there."""
    async with asyncio.timeout(60):
        while f"Login incorrect: {name}".encode() not in terminal.shown:
            terminal.type(f"\x1dt{name}\r".encode())
            await asyncio.sleep(0.5)


async def test_a_console_is_one_session_whichever_process_is_asked(database_url: str, tmp_path: Path) -> None:
    async with (
        lab(database_url, tmp_path, LabSettings(machines=1, leaves=1), sos_port=0) as (running, customer),
        two_servers(running, database_url) as servers,
    ):
        host_key = await public_host_key(running.service.db, running.service.parts.key)
        people = {}
        for server in servers:
            (folder := tmp_path / str(server.port)).mkdir()
            people[server.port] = Person(folder, "owner", server.port, host_key)
        keys = [{"label": str(port), "key": person.public} for port, person in people.items()]
        device = await customer.until(await customer.order(ssh_keys=keys), "active")
        machine = next(iter(running.rack.machines.values()))
        async with people[servers[0].port].at(device["id"]) as first:
            await first.until("[connected]")
            machine.console.print("what was printed before\r\n")
            await first.until("what was printed before")
        port = await holder(running)
        at, other = sorted(servers, key=lambda server: server.port != port)
        assert at.port == port

        async with people[other.port].at(device["id"]) as away:
            await away.until("[connected]")
            await away.until("what was printed before")
            async with people[at.port].at(device["id"]) as here:
                await here.until("[connected]")
                machine.console.print("one line for both\r\n")
                await here.until("one line for both")
                await away.until("one line for both")
                assert machine.console.sessions == 1
                await typed(away, "away")
                await here.until("Login incorrect: away")
                await typed(here, "here")
                await away.until("Login incorrect: here")

            # Killed: the lease ends by itself, and the other one goes on at the same session.
            await at.end(signal.SIGKILL)
            await away.until("[connected]", count=2, limit=60)
            assert await holder(running) == other.port
            await soon(lambda: machine.console.sessions == 1)
            await typed(away, "after")

            # Back again: led on to the other one.
            await at.start()
            async with people[at.port].at(device["id"]) as back:
                await back.until("[connected]")
                await back.until("Login incorrect: after")
                assert machine.console.sessions == 1 and await holder(running) == other.port
                # Stopped in order: the console is given back, and taken by who looks.
                await other.end(signal.SIGTERM)
                await back.until("[connected]", count=2, limit=60)
                assert await holder(running) == at.port
                await typed(back, "last")
                await soon(lambda: machine.console.sessions == 1)


async def test_nobody_else_s_key_leads_to_a_machine_by_id(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        host_key = await public_host_key(running.service.db, running.service.parts.key)
        stranger = Person(tmp_path, "stranger", running.service.parts.settings.sos_port, host_key)
        device = await customer.until(
            await customer.order(ssh_keys=[{"label": "own", "key": stranger.public}]), "active"
        )
        machine_id = await running.service.db.fetchval("SELECT id FROM machine WHERE device_id = $1", device["id"])
        for name in (f"relay.{machine_id}", f"relay.{device['id']}", "relay.", "relay.x"):
            async with stranger.at(name) as terminal:
                assert await terminal.ended() == 255
                assert b"Permission denied (publickey)" in terminal.shown

"""Serial consoles by OpenSSH's own client: who gets in, who types, what is shown, and when it is over."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncssh
import pytest

from service.lab.up import Lab, LabSettings
from service.sos.ring import SIZE
from service.sos.server import public_host_key
from tests.lab.world import TOKEN, Customer, all_ready, lab, soon

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="the Debian package openssh-client is missing")


class Terminal:
    """An ssh that runs, and what it has shown."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shown = b""
        self._reading: asyncio.Task[None] | None = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.shown += data

    async def until(self, text: str | bytes, *, count: int = 1, limit: float = 60) -> None:
        """Wait until it has been shown."""
        wanted = text.encode() if isinstance(text, str) else text
        async with asyncio.timeout(limit):
            while self.shown.count(wanted) < count:
                await asyncio.sleep(0.02)

    def type(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    async def ended(self) -> int:
        """Its exit code, when it has ended by itself."""
        async with asyncio.timeout(60):
            code = await self.process.wait()
            if self._reading is not None:
                await self._reading
        return code

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


class Person:
    """Somebody with a key of their own and OpenSSH's client."""

    def __init__(self, folder: Path, name: str, port: int, host_key: str) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519", comment=name)
        self.public = self.key.export_public_key().decode().strip()
        self.file = folder / name
        self.file.write_bytes(self.key.export_private_key())
        self.file.chmod(0o600)
        self._port = port
        self._known = folder / "known_hosts"
        self._known.write_text(f"[127.0.0.1]:{self._port} {host_key}\n")

    def command(self, who: str, *more: str) -> list[str]:
        return [
            *("ssh", "-F", "none", "-tt", "-p", str(self._port), "-i", str(self.file), "-l", who),
            *("-o", f"UserKnownHostsFile={self._known}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-e", "none"),
            *("127.0.0.1", *more),
        ]

    @asynccontextmanager
    async def at(self, who: str, *more: str) -> AsyncIterator[Terminal]:
        process = await asyncio.create_subprocess_exec(
            *self.command(who, *more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        terminal = Terminal(process)
        try:
            yield terminal
        finally:
            await terminal.close()


@asynccontextmanager
async def console_lab(
    database_url: str, folder: Path, machines: int = 1
) -> AsyncIterator[tuple[Lab, Customer, Callable[[str], Person]]]:
    async with lab(database_url, folder, LabSettings(machines=machines, leaves=1)) as (running, customer):
        host_key = await public_host_key(running.service.db, running.service.parts.key)

        def person(name: str) -> Person:
            return Person(folder, name, running.service.parts.settings.sos_port, host_key)

        yield running, customer, person


async def ordered(customer: Customer, person: Person, number: int = 0, **more: Any) -> dict[str, Any]:
    """An active device that the person's key opens."""
    keys = [{"label": "own", "key": person.public}]
    return await customer.until(await customer.order(number, ssh_keys=keys, **more), "active")


async def _typed_until_shown(terminal: Terminal, name: str) -> None:
    """Log in under the name, as often as it takes until the keyboard is there."""
    async with asyncio.timeout(60):
        while f"Login incorrect: {name}".encode() not in terminal.shown:
            terminal.type(f"{name}\r".encode())
            await asyncio.sleep(0.5)


async def test_a_device_s_console_is_its_keys_and_each_session_is_told(database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path, 2) as (running, customer, person):
        owner, other = person("owner"), person("other")
        device, theirs = await ordered(customer, owner), await ordered(customer, other, 1)
        for who in (theirs["id"], device["hostname"], "m0001", "root", "x" * 300):
            async with owner.at(who) as terminal:
                assert await terminal.ended() == 255
                assert b"Permission denied (publickey)" in terminal.shown
        async with owner.at(device["id"], "id") as terminal:
            assert await terminal.ended() == 1
            assert b"carries no commands out" in terminal.shown

        async with owner.at(device["id"]) as terminal:
            await terminal.until("you have the keyboard")
            await terminal.until("[connected]")
            terminal.type(b"root\r")
            await terminal.until("Login incorrect: root")
            terminal.type(b"a\x1d\x1d\r")
            await terminal.until(b"Login incorrect: a\x1d")
            terminal.type(b"\x1d?")
            await terminal.until("take the keyboard from whoever has it")
            terminal.type(b"\x1d.")
            assert await terminal.ended() == 0
            assert b"you have left" in terminal.shown
        events = (await customer.call("GET", f"/devices/{device['id']}/events?per_page=100"))[1]["events"]
        told = {event["type"]: event["body"] for event in events}
        assert told["console.opened"] == "A key of the device looks at the console, from 127.0.0.1"
        assert told["console.closed"].startswith("A key of the device typed and looked at the console for ")
        key = await running.service.db.fetchval("SELECT sealed FROM service_secret WHERE name = 'console_host_key'")
        assert b"OPENSSH" not in key


async def test_what_was_printed_before_is_shown_but_not_what_was_another_customers(
    database_url: str, tmp_path: Path
) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        first, second = person("first"), person("second")
        device = await ordered(customer, first)
        machine = next(iter(running.rack.machines.values()))
        async with first.at(device["id"]) as terminal:
            await terminal.until("[connected]")
            machine.console.print("the first one's secret\r\n")
            await terminal.until("secret")
        async with first.at(device["id"]) as terminal:
            await terminal.until("bytes of output follow")
            await terminal.until("the first one's secret")
            # Deleted: cut at once, with the reason.
            assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] == 204
            assert await terminal.ended() == 0
            assert b"this console is yours no longer" in terminal.shown
        async with first.at(device["id"]) as terminal:
            assert await terminal.ended() == 255
        await all_ready(running.service.db)
        later = await ordered(customer, second)
        async with second.at(later["id"]) as terminal:
            await terminal.until("[connected]")
        machine.console.print("the second one's own\r\n")
        async with second.at(later["id"]) as terminal:
            await terminal.until("the second one's own")
            assert b"first one's" not in terminal.shown


async def test_one_types_and_the_other_looks_on_or_takes_over(database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path) as (_, customer, person):
        owner = person("owner")
        device = await ordered(customer, owner)
        async with owner.at(device["id"]) as one, owner.at(device["id"]) as two:
            await one.until("[connected]")
            await two.until("[connected]")
            writer, watcher = (one, two) if b"you have the keyboard" in one.shown else (two, one)
            await writer.until("you have the keyboard")
            await watcher.until("you look on: a key of the device has the keyboard since")
            writer.type(b"alpha\r")
            for terminal in (writer, watcher):
                await terminal.until("Login incorrect: alpha")
            watcher.type(b"beta\r")
            await watcher.until("you look on", count=2)
            watcher.type(b"\x1dt")
            await watcher.until("you have the keyboard")
            await writer.until("you look on")
            watcher.type(b"gamma\r")
            for terminal in (writer, watcher):
                await terminal.until("Login incorrect: gamma")
                assert b"beta" not in terminal.shown
            # Whoever leaves puts the keyboard down, and the next key that is typed takes it up.
            watcher.type(b"\x1d.")
            assert await watcher.ended() == 0
            await _typed_until_shown(writer, "delta")


async def test_a_customer_looks_on_while_the_device_is_made_and_types_then(database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        owner, machine = person("owner"), next(iter(running.rack.machines.values()))
        machine.faults.never_phones_home = True
        order = await customer.order(ssh_keys=[{"label": "own", "key": owner.public}])
        async with owner.at(order) as terminal:
            await terminal.until("[connected]")
            # Its system has asked for a name by now, or will do so at once.
            await soon(lambda: machine.stage == "system", 60)
            machine.console.print("made before your eyes\r\n")
            await terminal.until("made before your eyes")
            terminal.type(b"early\r")
            await terminal.until("the device is provisioning: you look on until it is active")
            public = next(
                one["address"]
                for one in (await customer.call("GET", f"/devices/{order}"))[1]["ip_addresses"]
                if one["public"] and one["address_family"] == 4
            )
            await _phone_home(running.service.parts.boot_url, public)
            await terminal.until("the device is active: you have the keyboard")
            terminal.type(b"late\r")
            await terminal.until("Login incorrect: late")
            assert b"early" not in terminal.shown
            assert (await customer.call("POST", f"/devices/{order}/actions", {"type": "reinstall"}))[0] == 202
            await terminal.until("the device is reinstalling: you look on until it is active")


async def _phone_home(url: str, address: str) -> None:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session, session.post(f"{url}/phone-home") as answer:
        assert answer.status == 200


async def test_staff_look_at_any_machine_by_its_name(database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        staff, owner = person("staff"), person("owner")
        machine = next(iter(running.rack.machines.values()))
        assert (await customer.call("POST", "/ssh-keys", {"label": "mine", "key": staff.public}))[0] == 201
        async with staff.at("m0001") as terminal:
            await terminal.until("Console of machine m0001")
            await terminal.until("you have the keyboard")
            await terminal.until("[connected]")
            machine.console.print("nobody's machine\r\n")
            await terminal.until("nobody's machine")
            device = await ordered(customer, owner)
            await terminal.until("host0 login: ")
            async with staff.at(device["id"]) as second:
                await second.until("you look on: ")
            # Whoever is staff no longer is cut as soon as that is seen.
            await running.service.db.execute("UPDATE user_account SET staff_role = NULL")
            assert await terminal.ended() == 0
            assert b"yours no longer" in terminal.shown
        private = await running.service.db.fetch("SELECT private FROM event WHERE type = 'console.opened'")
        assert [row["private"] for row in private] == [True, True]


async def test_a_slow_reader_holds_nobody_up_and_giant_output_is_cut_with_word_of_it(
    database_url: str, tmp_path: Path
) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        owner = person("owner")
        device = await ordered(customer, owner)
        line = next(iter(running.rack.machines.values())).console
        async with owner.at(device["id"]) as slow, owner.at(device["id"]) as quick:
            await slow.until("[connected]")
            await quick.until("[connected]")
            slow.process.send_signal(signal.SIGSTOP)
            piece = b"0123456789abcde\n" * 1024
            for _ in range(1024):  # 16 MiB
                line.print(piece)
                await asyncio.sleep(0)
            line.print(b"that was all\r\n")
            await quick.until("that was all")
            slow.process.send_signal(signal.SIGCONT)
            await slow.until("that was all")
            for terminal in (slow, quick):
                assert len(terminal.shown) < (16 << 20) + 2 * SIZE


async def test_a_bmc_that_is_not_the_one_that_was_seen_first_gets_no_password(
    database_url: str, tmp_path: Path
) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        owner, db = person("owner"), running.service.db
        device = await ordered(customer, owner)
        async with owner.at(device["id"]) as terminal:
            await terminal.until("[connected]")
            assert (await db.fetchval("SELECT bmc_host_key FROM machine")).startswith("ssh-ed25519 ")
            await running.rack.bmc.console.change_host_key()
            await terminal.until("the console was ended by the machine's BMC")
            await terminal.until("the console cannot be reached")
            terminal.type(b"x")
            await terminal.until("the console does not take what is typed")
            await db.execute("UPDATE machine SET bmc_host_key = NULL")
            next(iter(running.rack.machines.values())).console.print("lost\r\n")
            await _typed_until_shown(terminal, "again")


async def test_the_api_and_the_command_line_lead_there(database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        owner, staff = person("owner"), person("staff")
        assert (await customer.call("POST", "/ssh-keys", {"label": "mine", "key": staff.public}))[0] == 201
        device = await ordered(customer, owner)
        assert device["sos"] == f"{device['id']}@127.0.0.1"
        told = (await customer.call("GET", f"/devices/{device['id']}/console"))[1]
        port = running.service.parts.settings.sos_port
        assert (told["user"], told["host"], told["port"]) == (device["id"], "127.0.0.1", port)
        assert told["command"] == f"ssh -p {port} {device['id']}@127.0.0.1"
        assert (await customer.call("GET", f"/devices/{uuid4()}/console"))[0] == 404

        for noun, name, key in (("device", "host0", owner), ("machine", "m0001", staff)):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.cli.main", noun, "console", name, "--identity", str(key.file)),
                env=os.environ | {"ROUNDHOUSE_API": running.api, "ROUNDHOUSE_TOKEN": TOKEN},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            terminal = Terminal(process)
            try:
                await terminal.until("[connected]", limit=60)
                _, body = await customer.call("GET", "/admin/v1/console-sessions")
                latest = body["sessions"][0]
                assert (latest["open"], latest["keyboard"], latest["machine"]) == (True, True, "m0001")
                assert (latest["user"] is None) == (noun == "device")
                terminal.type(b"\x1d.")
                assert await terminal.ended() == 0
            finally:
                await terminal.close()
        assert (await customer.call("DELETE", "/admin/v1/machines/m0001/bmc-host-key"))[0] == 204
        assert await running.service.db.fetchval("SELECT bmc_host_key FROM machine") is None
        assert (await customer.call("DELETE", "/admin/v1/machines/m9/bmc-host-key"))[0] == 404

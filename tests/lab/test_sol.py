"""Serial over LAN at OpenIPMI's simulator, by ipmitool: the machine's serial port is a pseudo-terminal of the test."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import socket
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.lab.ports import free_port
from service.power.errors import BmcLoginRefused, BmcRefused, BmcUnreachable
from service.power.ipmi import Ipmi
from service.secrets import seal
from service.sos.sol import Escaped, SolUpstream, open_sol
from tests.lab.test_bmc_peers import stopped
from tests.lab.test_console import console_lab, ordered

_SERIAL = """name "simulator"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  sol "{device}" 115200
  user 2 true "admin" "secret" admin 10 none md2 md5 straight
"""
_BMC = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"


class Machine:
    """A BMC's URL, and the machine's end of its serial line."""

    def __init__(self, url: str, line: int) -> None:
        self.url = url
        self._line = line
        self.heard = b""
        asyncio.get_running_loop().add_reader(line, self._hear)

    def _hear(self) -> None:
        self.heard += os.read(self._line, 4096)

    def print(self, data: bytes) -> None:
        os.write(self._line, data)

    async def until(self, data: bytes) -> None:
        async with asyncio.timeout(60):
            while data not in self.heard:
                await asyncio.sleep(0.02)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    for program, package in (("ipmi_sim", "openipmi"), ("ipmitool", "ipmitool")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: Debian's package {package}")
    port, (line, its) = free_port(socket.SOCK_DGRAM), pty.openpty()
    tty.setraw(its)
    (tmp_path / "lan.conf").write_text(_SERIAL.format(port=port, device=os.ttyname(its)))
    (tmp_path / "commands").write_text(_BMC)
    (tmp_path / "kept").mkdir()
    process = await asyncio.create_subprocess_exec(
        *("ipmi_sim", "-c", str(tmp_path / "lan.conf"), "-f", str(tmp_path / "commands")),
        *("-s", str(tmp_path / "kept"), "-n"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"ipmi://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    await Ipmi(url, "admin", "secret", retries=0).serial_console()
                    break
                except BmcUnreachable:
                    assert process.returncode is None
        yield Machine(url, line)
    finally:
        asyncio.get_running_loop().remove_reader(line)
        await stopped(process)
        os.close(line)
        os.close(its)


async def shown(upstream: SolUpstream, wanted: bytes) -> bytes:
    got = b""
    async with asyncio.timeout(60):
        while wanted not in got:
            data = await upstream.read()
            assert data
            got += data
    return got


def ours(machine: Machine) -> list[int]:
    """The ipmitools that are at the machine."""
    port = machine.url.rpartition(":")[2].encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ipmitool") and port in words:
            found.append(int(entry.parent.name))
    return found


@asynccontextmanager
async def at(machine: Machine) -> AsyncIterator[SolUpstream]:
    async with open_sol(await Ipmi(machine.url, "admin", "secret").serial_console()) as upstream:
        yield upstream


async def test_what_is_typed_arrives_whole_and_nothing_of_it_is_ipmitool_s(machine: Machine) -> None:
    # Every key, and all that would end, suspend or help ipmitool, at the beginning of a line and within it.
    typed = bytes(range(256)) + b"\r~.\n~~.\r~\x1a\r~\x18~?\r~B\r~~~~\r"
    async with at(machine) as upstream:
        for start in range(0, len(typed), 40):
            await upstream.write(typed[start : start + 40])
            await machine.until(typed[: start + 40])
        upstream.send_break()
        await upstream.write(b"x")
        with pytest.raises(OSError, match="beginning of a line"):
            upstream.send_break()
        await machine.until(typed + b"x")
        machine.print(b"login: \xff\x00~.\r\n")
        assert b"login: \xff\x00~.\r\n" in await shown(upstream, b"~.\r\n")
        assert machine.heard == typed + b"x"
        assert len(ours(machine)) == 1
        assert b"secret" not in Path(f"/proc/{ours(machine)[0]}/cmdline").read_bytes()
    assert not ours(machine)


async def test_a_session_that_was_left_is_ended_and_no_process_stays(machine: Machine) -> None:
    console = await Ipmi(machine.url, "admin", "secret").serial_console()
    async with open_sol(console) as left:
        os.kill(ours(machine)[0], signal.SIGKILL)
        with pytest.raises(OSError):
            while await left.read():
                pass
        # The BMC knows of no end: without being told it gives no console.
        with pytest.raises(BmcRefused, match="already active"):
            async with open_sol(console):
                pass
    console = await Ipmi(machine.url, "admin", "secret").serial_console()
    for _ in range(2):  # whoever leaves ends the BMC's session
        async with open_sol(console):
            pass
    holds = asyncio.Event()

    async def hold() -> None:
        async with at(machine) as upstream:
            machine.print(b"here again")
            await shown(upstream, b"here again")
            holds.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    async with asyncio.timeout(60):
        await holds.wait()
    os.kill(ours(machine)[0], signal.SIGSTOP)  # it will not end by itself
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ours(machine)


async def test_why_there_is_none_is_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BmcLoginRefused, match="admin"):
        await Ipmi(machine.url, "admin", "wrong").serial_console()
    await Ipmi(machine.url, "admin", "secret")._run("sol", "set", "enabled", "false")
    with pytest.raises(BmcRefused, match="Serial over LAN: Info: SOL payload disabled"):
        async with at(machine):
            pass
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BmcUnreachable, match="ipmitool is not installed"):
        await Ipmi(machine.url, "admin", "secret").serial_console()


async def test_a_customer_is_at_it_by_ssh(machine: Machine, database_url: str, tmp_path: Path) -> None:
    async with console_lab(database_url, tmp_path) as (running, customer, person):
        owner, service = person("owner"), running.service
        device = await ordered(customer, owner)
        sealed = seal(service.parts.key, "secret")
        await service.db.execute(
            "UPDATE machine SET bmc_url = $1, bmc_username = 'admin', bmc_secret = $2, bmc_fingerprint = NULL",
            *(machine.url, sealed),
        )
        await running.rack.bmc.console.change_host_key()  # ends the session that looked at the installation
        async with owner.at(device["id"]) as terminal:
            await terminal.until("you have the keyboard")
            await terminal.until("[connected]")
            async with asyncio.timeout(60):
                while not ours(machine):
                    await asyncio.sleep(0.1)
            async with asyncio.timeout(60):
                while b"\r~." not in machine.heard:
                    terminal.type(b"\r~.\r")
                    await asyncio.sleep(0.5)
            machine.print(b"by Serial over LAN\r\n")
            await terminal.until("by Serial over LAN")
            terminal.type(b"\x1db")
            await terminal.until("BREAK sent")
    assert not ours(machine)


def test_escapes_are_doubled_at_the_beginning_of_a_line_alone() -> None:
    escaped = Escaped()
    assert [escaped.of(piece) for piece in (b"~", b"~a~\r", b"~~\n", b"~")] == [b"~~", b"~a~\r", b"~~~\n", b"~~"]

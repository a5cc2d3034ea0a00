"""A real DNS server for the tests: BIND's named on loopback, with zones that take signed updates."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
import dns.reversename
import pytest

from service.lab.ports import free_port

KEY_NAME, KEY_SECRET = "roundhouse", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ=="
_CONF = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; lock-file none; managed-keys-directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; notify no; dnssec-validation no; minimal-responses yes;
}};
controls {{ }};
key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
{zones}
"""
_ZONE = 'zone "{name}" {{ type primary; file "{file}"; allow-update {{ key "{key}"; }}; }};\n'
_TEXT = """$TTL 3600
@ IN SOA ns1.example.net. hostmaster.example.net. 1 7200 900 1209600 3600
@ IN NS ns1.example.net.
{more}
"""


def program(name: str) -> str:
    """Where one of BIND's programs is; skips the test where Debian's package bind9 is absent."""
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin")
    if found is None:
        pytest.skip(f"BIND's {name} is not installed (Debian's package bind9)")
    return found


class Named:
    """One server; it can be stopped and started again with what it had."""

    def __init__(self, folder: Path, zones: dict[str, str]) -> None:
        """`zones` by name, with what each has beside SOA and NS."""
        self.port = free_port(socket.SOCK_STREAM, "127.0.0.1")
        self._folder = folder
        self._program = program("named")
        self._process: asyncio.subprocess.Process | None = None
        stanzas = []
        for number, (name, more) in enumerate(zones.items()):
            (folder / f"zone{number}").write_text(_TEXT.format(more=more))
            stanzas.append(_ZONE.format(name=name, file=f"zone{number}", key=KEY_NAME))
        conf = _CONF.format(folder=folder, port=self.port, key=KEY_NAME, secret=KEY_SECRET, zones="".join(stanzas))
        (folder / "named.conf").write_text(conf)

    async def start(self) -> None:
        """Start, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program, "-g", "-n", "1", "-c", str(self._folder / "named.conf"), stdout=log, stderr=log
            )
        for _ in range(1200):
            try:
                await self.ask("version.bind", dns.rdatatype.TXT, timeout=2)
                return
            except (OSError, EOFError, dns.exception.DNSException):
                await asyncio.sleep(0.05)
            if self._process.returncode is not None:
                break
        raise AssertionError((self._folder / "log").read_text(errors="replace")[-2000:])

    async def stop(self) -> None:
        """Stop it as an operator would."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGTERM)
            await self._process.wait()

    async def ask(self, name: str, kind: dns.rdatatype.RdataType, *, timeout: float = 30.0) -> list[str]:
        """What the server answers, in order: the records' contents as text."""
        query = dns.message.make_query(name, kind)
        answer = await dns.asyncquery.tcp(query, "127.0.0.1", timeout=timeout, port=self.port)
        return [rdata.to_text() for rrset in answer.answer for rdata in rrset]

    async def names(self, addresses: Iterable[str]) -> dict[str, str]:
        """What a resolver is told that these addresses are called; those that have no name are left out."""
        found = {}
        for address in addresses:
            asked = dns.reversename.from_address(address).to_text()
            told = await self.ask(asked, dns.rdatatype.PTR)
            if told and told[0].endswith(".arpa."):  # a CNAME into a classless zone: a resolver follows it
                told = await self.ask(told[0], dns.rdatatype.PTR)
            if told:
                found[address] = told[0].removesuffix(".")
        return found

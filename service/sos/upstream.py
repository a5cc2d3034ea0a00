"""A machine's console as its BMC serves it: found by Redfish, reached by SSH with the BMC's account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncssh

from service.bmcs import bmc_of
from service.parts import Parts
from service.power.errors import PowerError
from service.secrets import SecretUnreadable, open_sealed
from service.store.hardware import machine_by_id
from service.store.rows import Pool
from sql.loader import Q

_CONNECT_S = 15.0
_KEEPALIVE_S = 20.0
_BREAK_MS = 500
_FAILURES = (asyncssh.Error, OSError, PowerError, SecretUnreadable)  # TimeoutError is an OSError


class NoConsole(Exception):
    """The console cannot be had; the text tells operators why."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An open console."""

    process: asyncssh.SSHClientProcess[bytes]

    async def read(self) -> bytes:
        """What the machine printed; empty when the BMC has ended it. Raises OSError, asyncssh.Error."""
        data: bytes = await self.process.stdout.read(16384)
        return data

    async def write(self, data: bytes) -> None:
        """Type. Raises OSError, asyncssh.Error."""
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    def send_break(self) -> None:
        """Hold the line for half a second (RFC 4335), which Linux takes for its SysRq key."""
        self.process.send_break(_BREAK_MS)


@asynccontextmanager
async def open_console(db: Pool, parts: Parts, machine_id: UUID) -> AsyncIterator[Upstream]:
    """The machine's console while the block runs. Raises NoConsole."""
    row = await db.fetchrow(Q["console_bmc"], machine_id)
    if row is None:
        raise NoConsole("there is no such machine any more")
    try:
        secret = open_sealed(parts.key, row["bmc_secret"])
        async with bmc_of(db, parts.key, await machine_by_id(db, machine_id)) as bmc:
            found = await bmc.serial_console()
        if found is None:
            raise NoConsole("its BMC offers no serial console by SSH")
        host = urlsplit(row["bmc_url"]).hostname or ""
        known = row["bmc_host_key"]
        connection = await asyncssh.connect(
            host,
            found.port,
            username=row["bmc_username"],
            password=secret,
            known_hosts=None if known is None else ([asyncssh.import_public_key(known)], [], []),
            client_keys=None,
            agent_path=None,
            config=None,
            preferred_auth="password,keyboard-interactive",
            connect_timeout=_CONNECT_S,
            login_timeout=_CONNECT_S,
            keepalive_interval=_KEEPALIVE_S,
        )
    except asyncssh.HostKeyNotVerifiable as err:
        raise NoConsole(f"its BMC shows another SSH host key than the one that was seen first: {err}") from err
    except _FAILURES as err:
        raise NoConsole(str(err) or type(err).__name__) from err
    async with connection:
        if known is None:
            await db.execute(Q["pin_bmc_host_key"], machine_id, _host_key(connection))
        try:
            process: Any = await connection.create_process(term_type="vt100", term_size=(80, 24), encoding=None)
        except _FAILURES as err:
            raise NoConsole(f"its BMC gives no console: {err}") from err
        if found.command is not None:
            process.stdin.write(found.command.encode() + b"\r")
        yield Upstream(process)


def _host_key(connection: asyncssh.SSHClientConnection) -> str:
    key = connection.get_server_host_key()
    assert key is not None
    return key.export_public_key().decode().strip()

"""A machine's console as its BMC serves it, with the BMC's account: by SSH where Redfish tells it, or by IPMI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import asyncssh

from service.bmcs import bmc_of
from service.parts import Parts
from service.power.console import SolConsole, SshConsole
from service.power.errors import PowerError
from service.secrets import SecretUnreadable, open_sealed
from service.sos.sol import open_sol
from service.store.hardware import machine_by_id
from service.store.rows import Pool
from sql.loader import Q

_CONNECT_S = 15.0
_KEEPALIVE_S = 20.0
_BREAK_MS = 500
_FAILURES = (asyncssh.Error, OSError, PowerError, SecretUnreadable)  # TimeoutError is an OSError


class NoConsole(Exception):
    """The console cannot be had; the text tells operators why."""


class Upstream(Protocol):
    """An open console."""

    async def read(self) -> bytes:
        """What the machine printed; empty when the BMC has ended it. Raises OSError, asyncssh.Error."""

    async def write(self, data: bytes) -> None:
        """Type. Raises OSError, asyncssh.Error."""

    def send_break(self) -> None:
        """Hold the line (RFC 4335), which Linux takes for its SysRq key. Raises OSError where that cannot be now."""


@dataclass(frozen=True, slots=True)
class SshUpstream:
    """A console by SSH."""

    process: asyncssh.SSHClientProcess[bytes]

    async def read(self) -> bytes:
        """What was printed; empty at the end."""
        data: bytes = await self.process.stdout.read(16384)
        return data

    async def write(self, data: bytes) -> None:
        """Type."""
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    def send_break(self) -> None:
        """Hold the line."""
        self.process.send_break(_BREAK_MS)


@asynccontextmanager
async def open_console(db: Pool, parts: Parts, machine_id: UUID) -> AsyncIterator[Upstream]:
    """The machine's console while the block runs. Raises NoConsole."""
    row = await db.fetchrow(Q["console_bmc"], machine_id)
    if row is None:
        raise NoConsole("there is no such machine any more")
    async with AsyncExitStack() as stack:
        try:
            async with bmc_of(db, parts.key, await machine_by_id(db, machine_id)) as bmc:
                found = await bmc.serial_console()
            if found is None:
                raise NoConsole("its BMC offers no serial console by SSH")
            upstream: Upstream
            if isinstance(found, SolConsole):
                upstream = await stack.enter_async_context(open_sol(found))
            else:
                upstream = await stack.enter_async_context(_open_ssh(db, parts, machine_id, row, found))
        except asyncssh.HostKeyNotVerifiable as err:
            raise NoConsole(f"its BMC shows another SSH host key than the one that was seen first: {err}") from err
        except _FAILURES as err:
            raise NoConsole(str(err) or type(err).__name__) from err
        yield upstream


@asynccontextmanager
async def _open_ssh(
    db: Pool, parts: Parts, machine_id: UUID, row: Mapping[str, Any], found: SshConsole
) -> AsyncIterator[SshUpstream]:
    known = row["bmc_host_key"]
    async with asyncssh.connect(
        urlsplit(row["bmc_url"]).hostname or "",
        found.port,
        username=row["bmc_username"],
        password=open_sealed(parts.key, row["bmc_secret"]),
        known_hosts=None if known is None else ([asyncssh.import_public_key(known)], [], []),
        client_keys=None,
        agent_path=None,
        config=None,
        preferred_auth="password,keyboard-interactive",
        connect_timeout=_CONNECT_S,
        login_timeout=_CONNECT_S,
        keepalive_interval=_KEEPALIVE_S,
    ) as connection:
        if known is None:
            await db.execute(Q["pin_bmc_host_key"], machine_id, _host_key(connection))
        process: Any = await connection.create_process(term_type="vt100", term_size=(80, 24), encoding=None)
        if found.command is not None:
            process.stdin.write(found.command.encode() + b"\r")
        yield SshUpstream(process)


def _host_key(connection: asyncssh.SSHClientConnection) -> str:
    key = connection.get_server_host_key()
    assert key is not None
    return key.export_public_key().decode().strip()

"""The one door to a machine's BMC: its driver by the URL's scheme, its secret opened, its certificate the known one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import structlog

from service.passwords import new_password
from service.power.certificates import shown_certificate
from service.power.console import SolConsole, SshConsole
from service.power.errors import BmcLied, BmcLoginRefused
from service.power.ipmi import Ipmi
from service.power.redfish import Redfish
from service.secrets import KeyRing, open_sealed, seal
from service.store.events import add_event
from service.store.hardware import Machine
from service.store.rows import Pool
from sql.loader import Q

log = structlog.get_logger()

SCHEMES = ("http", "https", "ipmi")


class Bmc(Protocol):
    """A machine's power and boot order, and the care of the BMC. Every set is read back before a call returns.

    All raise the children of service.power.errors.PowerError.
    """

    async def power_state(self) -> Literal["on", "off"] | None:
        """What is shown; None while the machine is between the two."""

    async def set_boot_once(self, target: Literal["pxe", "disk"]) -> None:
        """Where the next start leads."""

    async def power_on(self) -> None:
        """On, seen on."""

    async def power_off(self) -> None:
        """Off, seen off."""

    async def power_cycle(self) -> None:
        """Off and on again, or on if it was off."""

    async def serial_console(self) -> SshConsole | SolConsole | None:
        """Where the machine's serial console is; None where the BMC offers none. By IPMI, who is at it is sent away."""

    async def locate(self, on: bool) -> None:
        """Have the machine's LED blink, or not."""

    async def evidence(self) -> dict[str, Any]:
        """Health, sensors, logs and firmware, as far as the BMC tells them."""

    async def reset_bmc(self) -> None:
        """Restart the BMC itself; the machine runs on."""

    async def change_password(self, new: str) -> None:
        """Give the user that we are another password; `change_bmc_password` sees to the rest."""


def open_bmc(
    url: str, username: str, password: str, fingerprint: str | None = None
) -> AbstractAsyncContextManager[Bmc]:
    """A BMC by its URL: "ipmi://HOST" speaks IPMI 2.0, all else Redfish."""
    if urlsplit(url).scheme == "ipmi":
        return Ipmi(url, username, password)
    return Redfish(url, username, password, fingerprint)


def service_of(url: str) -> str:
    """Scheme and address of a URL: machines that have these alike are behind one service."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@asynccontextmanager
async def bmc_of(db: Pool, key: KeyRing, machine: Machine) -> AsyncIterator[Bmc]:
    """The machine's BMC. Raises PowerError's children, BmcChanged for another certificate than the known one.

    The certificate that is seen first is kept, and told as an event. A password that is being changed may be the old
    one or the new one: the one that opens is taken.
    """
    fingerprint = machine.bmc_fingerprint or await _pinned(db, machine)
    password = open_sealed(key, machine.bmc_secret)
    coming = await db.fetchval(Q["bmc_password_coming"], service_of(machine.bmc_url), machine.bmc_username)
    if coming is not None and not await _opens(machine, password, fingerprint):
        password = open_sealed(key, coming)
    async with open_bmc(machine.bmc_url, machine.bmc_username, password, fingerprint) as bmc:
        yield bmc


async def _opens(machine: Machine, password: str, fingerprint: str | None) -> bool:
    try:
        async with open_bmc(machine.bmc_url, machine.bmc_username, password, fingerprint) as bmc:
            await bmc.power_state()
    except BmcLoginRefused:
        return False
    return True


async def _pinned(db: Pool, machine: Machine) -> str | None:
    shown = await shown_certificate(machine.bmc_url)
    if shown is not None:
        await _pin(db, machine, shown, anew=False)
    return shown


async def trust_bmc(db: Pool, machine: Machine) -> str | None:
    """Take the certificate that the machine's BMC shows now for the right one; its SHA-256. Raises BmcUnreachable."""
    shown = await shown_certificate(machine.bmc_url)
    if shown is not None:
        await _pin(db, machine, shown, anew=True)
    return shown


async def _pin(db: Pool, machine: Machine, shown: str, *, anew: bool) -> None:
    service = service_of(machine.bmc_url)
    async with db.acquire() as conn, conn.transaction():
        for row in await conn.fetch(Q["pin_bmc"], service, shown, anew):
            body = f"The BMC of {row['name']} at {service} shows the certificate {shown}: no other is taken from now on"
            await add_event(conn, "machine.bmc_trusted", body, machine_id=row["id"], private=True)


async def change_bmc_password(db: Pool, key: KeyRing, machine: Machine) -> list[str]:
    """Give the BMC a new password, log in with it, and only then forget the old one; the machines that share it.

    Whoever is killed on the way leaves the new password in the database before the BMC has it: calling again goes on,
    and `bmc_of` opens meanwhile. Raises PowerError's children; BmcLied where the BMC took the password and does not
    open by it.
    """
    service, username = service_of(machine.bmc_url), machine.bmc_username
    fingerprint = machine.bmc_fingerprint or await _pinned(db, machine)
    sealed = await db.fetchval(Q["begin_bmc_password"], service, username, seal(key, new_password()))
    new = open_sealed(key, sealed)
    if not await _opens(machine, new, fingerprint):
        old = open_sealed(key, machine.bmc_secret)
        async with open_bmc(machine.bmc_url, username, old, fingerprint) as bmc:
            await bmc.change_password(new)
        if not await _opens(machine, new, fingerprint):
            if await _opens(machine, old, fingerprint):
                await db.execute(Q["forget_bmc_password"], service, username)
            raise BmcLied(f"{service} took a new password for {username}, and does not open by it")
    async with db.acquire() as conn, conn.transaction():
        names = sorted(row["name"] for row in await conn.fetch(Q["keep_bmc_password"], service, username, sealed))
        body = f"The BMC of {', '.join(names)} at {service} has a new password"
        await add_event(conn, "machine.bmc_password", body, machine_id=machine.id, private=True)
    log.info("bmc_password_changed", service=service, machines=names)
    return names

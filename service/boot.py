"""The boot decision: which address a port's DHCP client gets, and where its machine's network boot leads.

The port is the identity (giaddr with circuit-id and remote-id, then the boot link's source address); the MAC only
confirms. The decision is a function of the machine's state, so a repeated boot gets the same answer and none loops.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from typing import Any, cast
from uuid import UUID

import structlog

from images.store import StoredFile
from ipam.ledger import Tenure, held_by
from pxe.decide import BootDecision, BootRequest, Lease, Script, Stage, Target
from service.lifecycle import MachineState
from service.parts import Parts
from service.store.events import add_event
from service.store.rows import Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_LEASE_S = 600
_METADATA = IPv4Network("169.254.169.254/32")
# Circuit-ids as Junos writes them: "xe-0/0/12.0", "et-0/0/0:0.0", "ge-0/0/0.0:text".
_CIRCUIT = re.compile(r"^((?:xe|et|ge|fe)-\d+/\d+/\d+(?::\d+)?|ae\d+)(?:\.\d+)?(?::.*)?$")
_REMEMBERED = 100_000
_CONSOLES = "console=tty0 console=ttyS0,115200"


def target_of(state: MachineState, *, installed: bool, ipxe: bool, always_pxe: bool) -> Target:
    """Where the machine's next network boot leads. `ipxe`: its device brings an iPXE script instead of a system."""
    match state:
        case MachineState.INSTALLING if ipxe:
            return Target.CUSTOM_IPXE
        case MachineState.IN_USE if ipxe and always_pxe:
            return Target.CUSTOM_IPXE
        case MachineState.IN_USE:
            return Target.LOCAL_DISK
        case MachineState.INSTALLING if installed:
            return Target.LOCAL_DISK
        case _:
            return Target.INSTALLER


def digest(secret: str) -> bytes:
    """How tokens and sessions are kept."""
    return hashlib.sha256(secret.encode()).digest()


class BootDecider:
    """Answers DHCP and boot scripts from the database; while that is away, DHCP from what it answered last."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts
        self._last: dict[tuple[object, ...], BootDecision] = {}

    async def decide(self, request: BootRequest) -> BootDecision:
        """The answer to a DHCP request (`pxe.decide.Decide`)."""
        key = (request.giaddr, request.circuit_id, request.remote_id, request.ciaddr, request.stage, request.mac)
        try:
            decision = await self._decide(request)
        except Exception:
            log.warning("boot_decision_from_memory", exc_info=True)
            return self._last.get(key) or BootDecision(None, "the database is away and this port was not seen before")
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        self._last[key] = decision
        return decision

    async def _decide(self, request: BootRequest) -> BootDecision:
        link = await self._link(request)
        if isinstance(link, str):
            return BootDecision(None, link)
        host, leaf = cast(IPv4Interface, link.host), cast(IPv4Interface, link.leaf)
        nameservers = tuple(IPv4Address(name) for name in self._parts.settings.nameservers.split(",") if name.strip())
        lease = Lease(host, leaf.ip, _LEASE_S, ((_METADATA, leaf.ip),), nameservers)
        return BootDecision(lease, "the port's boot link", script_url=f"{self._parts.boot_url}/boot/ipxe")

    async def _link(self, request: BootRequest) -> Tenure | str:
        """The boot link of the port that the request came by, or why there is none."""
        if request.giaddr is None:
            return await self._link_of_address(request.ciaddr) if request.ciaddr else "neither relayed nor renewing"
        match = _CIRCUIT.match(request.circuit_id or "")
        if match is None or request.remote_id is None:
            return await self._link_of_address(request.giaddr)
        port = await self._db.fetchrow(Q["port_of_circuit"], request.remote_id, match[1])
        if port is None:
            return f"{request.remote_id} {match[1]} is no port of ours"
        if request.stage is not Stage.SYSTEM:
            await self._check_cable(port, request.mac)
        for link in await held_by(self._db, port["id"]):
            if link.slot == "boot":
                if link.leaf.ip != request.giaddr:
                    return f"giaddr {request.giaddr} is not {port['leaf']} {port['name']} ({link.leaf.ip})"
                return link
        return f"{port['leaf']} {port['name']} has no boot link"

    async def _link_of_address(self, address: IPv4Address) -> Tenure | str:
        row = await self._db.fetchrow(Q["boot_link_of_address"], address)
        if row is None:
            return f"{address} is in no boot link"
        return next(link for link in await held_by(self._db, row["owner"]) if link.slot == "boot")

    async def _check_cable(self, port: Mapping[str, Any], mac: str) -> None:
        """Say it when another machine's MAC is seen on a port: a cable is in the wrong place."""
        if port["mac"] is None or port["mac"] == mac:
            return
        home = await self._db.fetchrow(Q["port_of_mac"], mac)
        expected = f"{home['leaf']} {home['name']}" if home else "no port"
        seen = f"{port['leaf']} {port['name']}"
        body = f"MAC {mac}: expected {expected}, seen {seen}, where {port['machine']} ({port['mac']}) belongs"
        log.warning("wrong_cable", mac=mac, expected=expected, seen=seen)
        await add_event(self._db, "machine.wrong_cable", body, machine_id=port["machine_id"], private=True)

    async def script_for(self, source: IPv4Address | IPv6Address, _parameters: Mapping[str, str]) -> Script | None:
        """The iPXE script of the machine at that boot link; None for anyone else."""
        at = await self._db.fetchrow(Q["machine_at_source"], source)
        if at is None or at["slot"] != "boot":
            return None
        row = await self._db.fetchrow(Q["boot_state"], at["machine_id"])
        slug = row["operating_system"]
        entry = self._parts.catalogue.get(slug) if slug else None
        ipxe = entry is not None and entry.engine == "ipxe"
        state = MachineState(row["state"])
        target = target_of(state, installed=row["installed"], ipxe=ipxe, always_pxe=bool(row["always_pxe"]))
        log.info("boot_script", machine=row["name"], state=state, target=target)
        match target:
            case Target.CUSTOM_IPXE:
                return await self._custom(row)
            case Target.LOCAL_DISK:
                return Script(target)
            case _:
                return await self._installer(row["id"])

    async def _custom(self, row: Mapping[str, Any]) -> Script:
        async with self._db.acquire() as conn, conn.transaction():
            body = "Device connected to DHCP system"
            await add_event(conn, "provisioning.104.01", body, device_id=row["device_id"])
            await conn.execute(Q["set_installed"], row["id"], True)
            # A customer's own script need not know us: that it was fetched is the only sign of life there will be.
            now = self._parts.clock.now()
            await conn.execute(Q["record_phone_home"], row["device_id"], now)
        await signal_all(self._db, [row["device_id"]], now=now)
        script = row["userdata"] if row["userdata"].startswith("#!ipxe") else row["ipxe_script_url"] or ""
        return Script(Target.CUSTOM_IPXE, custom=script)

    async def _installer(self, machine_id: UUID) -> Script:
        """The in-RAM installer with a fresh token that is good for one hello."""
        token = secrets.token_urlsafe(24)
        await self._db.execute(Q["issue_boot_token"], machine_id, digest(token), self._parts.clock.now())
        installer = self._parts.images.installer()
        files = f"{self._parts.boot_url}/images"
        return Script(
            Target.INSTALLER,
            kernel_url=_url(files, installer.kernel),
            initrd_urls=(_url(files, installer.initrd),),
            cmdline=f"{_CONSOLES} roundhouse.url={self._parts.boot_url} roundhouse.token={token}",
        )


def _url(files: str, artefact: StoredFile) -> str:
    return f"{files}/{artefact.sha256}"

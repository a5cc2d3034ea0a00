"""Enrolment: racks of leaves and machines, with the prefixes that serve them, written down in one transaction.

The same inventory may be sent again: what exists is brought up to date, what is new is added and, for a machine,
prepared. Nothing is changed when any part of it is refused.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Annotated, Literal, cast
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ipam.errors import NoPrefix
from ipam.ledger import take
from ipam.prefixes import ROLES, add_prefix, add_vrf, prefixes_for
from service.leaves.fabric import FabricEntry
from service.parts import Parts
from service.secrets import seal
from service.store.rows import Connection
from service.workflows.burn_in import PARTS, start_burn_in
from service.workflows.prepare import start_prepare
from sql.loader import Q

_MAC = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
_PORT = r"^(xe|et|ge)-\d+/\d+/\d+(:\d+)?$"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _role(value: str) -> str:
    allowed = [role for role in ROLES if role != "container"]
    if value not in allowed:
        raise ValueError(f"{value!r} is no role of a prefix that hands out; allowed are {', '.join(allowed)}")
    return value


class PrefixEntry(_Model):
    """A prefix that the facility hands out from, in blocks of `block_length`."""

    cidr: str
    role: Annotated[str, AfterValidator(_role)]
    block_length: int


class LeafEntry(_Model):
    """A leaf: where its NETCONF listens, the host key that it must show, and who we are there: by an OpenSSH private
    key without a passphrase, or by a password. Without a `fabric`, what joins it to the rest is not ours."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 830
    username: str
    password: str = ""
    private_key: str = ""
    host_key: str
    fabric: FabricEntry | None = None

    @model_validator(mode="after")
    def _some_secret(self) -> LeafEntry:
        if bool(self.password) == bool(self.private_key):
            raise ValueError("either password or private_key must be given, and not both")
        return self


class MachineEntry(_Model):
    """A machine: its BMC, its network card and the leaf port that its cable ends in."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    plan: str
    mac: Annotated[str, Field(pattern=_MAC)]
    arch: Literal["amd64", "arm64"] = "amd64"
    secure_boot: bool = False
    leaf: str
    port: Annotated[str, Field(pattern=_PORT)]
    bmc_url: str
    bmc_username: str
    bmc_password: str
    burn_in_minutes: Annotated[int, Field(ge=0, le=1200)] = 0  # before it comes to the pool for the first time; 0: not


class FreePortsEntry(_Model):
    """Ports of a leaf at which machines may be found that nobody has enrolled yet."""

    leaf: str
    ports: list[Annotated[str, Field(pattern=_PORT)]]


class Inventory(_Model):
    """What is enrolled at one facility."""

    facility: str
    prefixes: list[PrefixEntry] = []
    leaves: list[LeafEntry] = []
    machines: list[MachineEntry] = []
    free_ports: list[FreePortsEntry] = []


class EnrolmentRefused(ValueError):
    """The inventory names something that does not exist."""


async def enrol(conn: Connection, inventory: Inventory, parts: Parts, *, by: str) -> dict[str, int]:
    """Write the inventory down, in the caller's transaction; returns what it holds, by kind. `by` is for the ledger.

    Raises EnrolmentRefused or ipam.errors.IpamError.
    """
    vrf = await add_vrf(conn, "default")
    for prefix in inventory.prefixes:
        # An anycast block leads to machines of all facilities.
        facility = None if prefix.role == "anycast" else inventory.facility
        await add_prefix(conn, vrf, prefix.cidr, prefix.role, block_length=prefix.block_length, facility=facility)
    for leaf in inventory.leaves:
        secret = seal(parts.key, leaf.password)
        key = seal(parts.key, leaf.private_key) if leaf.private_key else None
        fabric = None if leaf.fabric is None else leaf.fabric.model_dump(mode="json")
        row = (inventory.facility, leaf.name, leaf.host, leaf.port, leaf.username, secret, leaf.host_key, key, fabric)
        if await conn.fetchval(Q["enrol_leaf"], *row) is None:
            raise EnrolmentRefused(f"facility {inventory.facility!r} does not exist")
    for machine in inventory.machines:
        await _enrol_machine(conn, inventory.facility, machine, parts, by=by)
    for free in inventory.free_ports:
        for port in free.ports:
            where = {"leaf": free.leaf, "port": port, "machine": "", "mac": ""}
            await _enrol_port(conn, inventory.facility, where, parts, by=by)
    await conn.execute(Q["notify"], "leaves")
    return {
        "prefixes": len(inventory.prefixes),
        "leaves": len(inventory.leaves),
        "machines": len(inventory.machines),
        "free_ports": sum(len(free.ports) for free in inventory.free_ports),
    }


async def _enrol_port(conn: Connection, facility: str, where: dict[str, str], parts: Parts, *, by: str) -> UUID:
    """The port with its boot links: of IPv4, and of IPv6 where the facility has room for such."""
    port_id = await conn.fetchval(Q["enrol_port"], where["leaf"], where["port"])
    if port_id is None:
        who = f"machine {where['machine']}" if where["machine"] else f"port {where['port']}"
        raise EnrolmentRefused(f"{who}: leaf {where['leaf']!r} does not exist")
    now = parts.clock.now()
    await take(conn, await prefixes_for(conn, "boot", facility), port_id, "boot", now=now, by=by, note=where)
    with contextlib.suppress(NoPrefix):  # few facilities boot by IPv6
        await take(conn, await prefixes_for(conn, "boot6", facility), port_id, "boot6", now=now, by=by, note=where)
    return cast(UUID, port_id)


async def _enrol_machine(conn: Connection, facility: str, machine: MachineEntry, parts: Parts, *, by: str) -> None:
    now = parts.clock.now()
    where = {"machine": machine.name, "leaf": machine.leaf, "port": machine.port, "mac": machine.mac}
    port_id = await _enrol_port(conn, facility, where, parts, by=by)
    row = await conn.fetchrow(
        Q["enrol_machine"],
        facility,
        machine.plan,
        port_id,
        machine.name,
        machine.mac,
        machine.arch,
        machine.bmc_url,
        machine.bmc_username,
        seal(parts.key, machine.bmc_password),
        machine.secure_boot,
    )
    if row is None:
        raise EnrolmentRefused(f"machine {machine.name}: plan {machine.plan!r} does not exist")
    # Whoever was found at the port boots again, as this machine.
    await conn.fetch(Q["forget_discovery"], port_id)
    if row["state"] == "enrolled":
        settings, seconds = parts.settings, 60 * machine.burn_in_minutes
        if seconds:
            await start_burn_in(conn, row["id"], seconds=seconds, parts=list(PARTS), now=now, settings=settings)
        else:
            limit = timedelta(seconds=settings.erase_limit_s)
            await start_prepare(conn, row["id"], None, "it was enrolled", now=now, limit=limit)

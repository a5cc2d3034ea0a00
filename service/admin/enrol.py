"""Enrolment: racks of leaves and machines, with the prefixes that serve them, written down in one transaction.

The same inventory may be sent again: what exists is brought up to date, what is new is added and, for a machine,
prepared. Nothing is changed when any part of it is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from pgqueuer.queries import Queries
from pydantic import AfterValidator, Field, model_validator

from ipam.errors import NoPrefix
from ipam.ledger import Want, no_block, take_all
from ipam.prefixes import ROLES, add_prefix, add_vrf, prefixes_for
from service.api.models import Strict
from service.bmcs import SCHEMES
from service.clock import Clock
from service.leaves.fabric import FabricEntry
from service.secrets import KeyRing, seal
from service.settings import Settings
from service.spellings import HARDWARE, MAC, PORT, RACK
from service.store.leaves import LeafEnrolment, enrol_leaf
from service.store.rows import Connection
from service.store.runs import hint
from service.workflows.burn_in import BURN_IN, PARTS
from service.workflows.prepare import PREPARE
from sql.loader import Q


def _role(value: str) -> str:
    allowed = [role for role in ROLES if role != "container"]
    if value not in allowed:
        raise ValueError(f"{value!r} is no role of a prefix that hands out; allowed are {', '.join(allowed)}")
    return value


def _bmc(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.username is not None:
        allowed = ", ".join(f"{scheme}://HOST" for scheme in SCHEMES)
        raise ValueError(f"{value!r} is no BMC's address; allowed are {allowed}, with a port and a path where needed")
    return value


class PrefixEntry(Strict):
    """A prefix that the facility hands out from, in blocks of `block_length`."""

    cidr: str
    role: Annotated[str, AfterValidator(_role)]
    block_length: int


class Placed(Strict):
    """Where something stands: a rack, which is made where it is not there, and the lowest unit that it takes."""

    rack: Annotated[str, Field(pattern=f"^{RACK}$")] | None = None
    unit: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _unit_of_rack(self) -> Placed:
        if self.unit is not None and self.rack is None:
            raise ValueError("unit: a unit needs a rack")
        return self


class LeafEntry(Placed):
    """A leaf: where its NETCONF listens, the host key that it must show, and who we are there: by an OpenSSH private
    key without a passphrase, or by a password. Without a `fabric`, what joins it to the rest is not ours."""

    name: Annotated[str, Field(pattern=f"^{HARDWARE}$")]
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


class MachineEntry(Placed):
    """A machine: its BMC, its network card and the leaf port that its cable ends in. One that is there already keeps
    the BMC's password where none is given."""

    name: Annotated[str, Field(pattern=f"^{HARDWARE}$")]
    plan: str
    mac: Annotated[str, Field(pattern=f"^{MAC}$")]
    arch: Literal["amd64", "arm64"] = "amd64"
    secure_boot: bool = False
    leaf: str
    port: Annotated[str, Field(pattern=f"^{PORT}$")]
    bmc_url: Annotated[str, AfterValidator(_bmc)]
    bmc_username: str
    bmc_password: str | None = None
    # SHA-256 of its certificate; none: the one that is seen first is kept.
    bmc_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    burn_in_minutes: Annotated[int, Field(ge=0, le=1200)] = 0  # before it comes to the pool for the first time; 0: not


class PortEntry(Placed):
    """A port at which a machine may be found that nobody has enrolled yet, where that stands, and its BMC if known."""

    leaf: str
    port: Annotated[str, Field(pattern=f"^{PORT}$")]
    bmc_url: Annotated[str, AfterValidator(_bmc)] | None = None
    bmc_username: str = ""
    bmc_password: str | None = None


class FreePortsEntry(Strict):
    """Ports of a leaf at which machines may be found that nobody has enrolled yet."""

    leaf: str
    ports: list[Annotated[str, Field(pattern=f"^{PORT}$")]]


class Inventory(Strict):
    """What is enrolled at one facility."""

    facility: str
    prefixes: list[PrefixEntry] = Field(default_factory=list)
    leaves: list[LeafEntry] = Field(default_factory=list)
    machines: list[MachineEntry] = Field(default_factory=list)
    free_ports: list[FreePortsEntry] = Field(default_factory=list)
    ports: list[PortEntry] = Field(default_factory=list)  # free ones, too, with more to say of each


class Means(Protocol):
    """What enrolment needs of its process."""

    @property
    def key(self) -> KeyRing:
        """Seals the secrets."""

    @property
    def clock(self) -> Clock:
        """Tells the time."""

    @property
    def settings(self) -> Settings:
        """Tell how long a preparation may take."""


class EnrolmentRefused(ValueError):
    """The inventory names something that does not exist."""


async def enrol(conn: Connection, inventory: Inventory, means: Means, *, by: str) -> dict[str, int]:
    """Write the inventory down, in the caller's transaction; returns what it holds, by kind. `by` is for the ledger.

    Raises EnrolmentRefused or ipam.errors.IpamError.
    """
    vrf = await add_vrf(conn, "default")
    for prefix in inventory.prefixes:
        # An anycast block leads to machines of all facilities.
        facility = None if prefix.role == "anycast" else inventory.facility
        await add_prefix(conn, vrf, prefix.cidr, prefix.role, block_length=prefix.block_length, facility=facility)
    free = [PortEntry(leaf=entry.leaf, port=port) for entry in inventory.free_ports for port in entry.ports]
    free += inventory.ports
    racks = await _racks(conn, inventory.facility, [*inventory.leaves, *inventory.machines, *free])
    for leaf in inventory.leaves:
        await _enrol_leaf(conn, inventory.facility, leaf, racks, means)
    ports = await _enrol_ports(conn, inventory.facility, inventory.machines, free, means, by=by)
    await _say_where(conn, inventory.facility, free, ports, racks, means)
    await _enrol_machines(conn, inventory.facility, inventory.machines, ports, racks, means)
    await conn.execute(Q["notify"], "leaves")
    return {
        "prefixes": len(inventory.prefixes),
        "leaves": len(inventory.leaves),
        "machines": len(inventory.machines),
        "free_ports": len(free),
    }


Ports = dict[tuple[str, str], UUID]  # by leaf and name
Racks = dict[str, UUID]  # of one facility


async def _racks(conn: Connection, facility: str, placed: Sequence[Placed]) -> Racks:
    """The racks that are named, all of which are there from now on."""
    names = sorted({one.rack for one in placed if one.rack is not None})
    rows = await conn.fetch(Q["enrol_racks"], facility, names) if names else []
    if names and not rows:
        raise EnrolmentRefused(f"facility {facility!r} does not exist")
    return {row["name"]: row["id"] for row in rows}


async def _enrol_leaf(conn: Connection, facility: str, leaf: LeafEntry, racks: Racks, means: Means) -> None:
    known = not leaf.password and not leaf.private_key
    enrolment = LeafEnrolment(
        facility=facility,
        name=leaf.name,
        host=leaf.host,
        port=leaf.port,
        username=leaf.username,
        secret=None if known else seal(means.key, leaf.password),
        private_key=seal(means.key, leaf.private_key) if leaf.private_key else None,
        host_key=leaf.host_key,
        fabric=None if leaf.fabric is None else leaf.fabric.model_dump(mode="json"),
        rack_id=None if leaf.rack is None else racks[leaf.rack],
        rack_unit=leaf.unit,
    )
    if await enrol_leaf(conn, enrolment) is None:
        raise EnrolmentRefused(f"facility {facility!r} does not exist")


async def _enrol_ports(
    conn: Connection,
    facility: str,
    machines: Sequence[MachineEntry],
    free: Sequence[PortEntry],
    means: Means,
    *,
    by: str,
) -> Ports:
    """The ports with their boot links: of IPv4, and of IPv6 where the facility has room for such."""
    notes = {(one.leaf, one.port): {"machine": "", "mac": ""} for one in free}
    notes |= {(one.leaf, one.port): {"machine": one.name, "mac": one.mac} for one in machines}
    leaves, names = [leaf for leaf, _ in notes], [name for _, name in notes]
    await conn.execute(Q["enrol_ports"], facility, leaves, names)
    rows = await conn.fetch(Q["enrolled_ports"], facility, leaves, names)
    ports = {(row["leaf"], row["port"]): row["id"] for row in rows}
    for at, note in notes.items():
        if at not in ports:
            who = f"machine {note['machine']}" if note["machine"] else f"port {at[1]}"
            raise EnrolmentRefused(f"{who}: leaf {at[0]!r} does not exist in {facility}")
    await _links(conn, facility, "boot", ports, notes, means, by=by)
    with contextlib.suppress(NoPrefix):  # few facilities boot by IPv6
        await _links(conn, facility, "boot6", ports, notes, means, by=by)
    return ports


async def _links(
    conn: Connection,
    facility: str,
    slot: str,
    ports: Ports,
    notes: dict[tuple[str, str], dict[str, str]],
    means: Means,
    *,
    by: str,
) -> None:
    if not ports:
        return
    now = means.clock.now()
    prefixes = await prefixes_for(conn, slot, facility)
    wants = [
        Want(owner=ports[at], slot=slot, by=by, note={**note, "leaf": at[0], "port": at[1]})
        for at, note in notes.items()
    ]
    found = await take_all(conn, prefixes, wants, now=now, cool_down=timedelta(0))
    if None in found:
        raise await no_block(conn, prefixes, slot, now=now, cool_down=timedelta(0), length=None)


async def _say_where(
    conn: Connection, facility: str, free: Sequence[PortEntry], ports: Ports, racks: Racks, means: Means
) -> None:
    """What is known of whatever comes to the free ports."""
    placed = [one for one in free if one.rack is not None]
    ids = [ports[one.leaf, one.port] for one in placed]
    await conn.execute(Q["place_ports"], ids, [racks[str(one.rack)] for one in placed], [one.unit for one in placed])
    now = means.clock.now()
    for one in free:
        if one.bmc_url is not None:
            secret = None if one.bmc_password is None else seal(means.key, one.bmc_password)
            where = (facility, one.leaf, one.port)
            if not await conn.fetchval(Q["set_port_bmc"], *where, one.bmc_url, one.bmc_username, secret, now):
                raise EnrolmentRefused(f"port {one.leaf} {one.port}: bmc_password can't be blank for a new BMC")


async def _enrol_machines(
    conn: Connection, facility: str, machines: Sequence[MachineEntry], ports: Ports, racks: Racks, means: Means
) -> None:
    if not machines:
        return
    plans = {name for row in await conn.fetch(Q["plan_names"]) for name in (row["slug"], *row["aliases"])}
    known = {row["name"] for row in await conn.fetch(Q["machines_there"], [one.name for one in machines])}
    for one in machines:
        if one.plan not in plans:
            raise EnrolmentRefused(f"machine {one.name}: plan {one.plan!r} does not exist")
        if one.name not in known and one.bmc_password is None:
            raise EnrolmentRefused(f"machine {one.name}: bmc_password can't be blank for a new machine")
    rows = await conn.fetch(
        Q["enrol_machines"],
        facility,
        [one.plan for one in machines],
        [ports[one.leaf, one.port] for one in machines],
        [one.name for one in machines],
        [one.mac for one in machines],
        [one.arch for one in machines],
        [one.bmc_url for one in machines],
        [one.bmc_username for one in machines],
        [b"" if one.bmc_password is None else seal(means.key, one.bmc_password) for one in machines],
        [one.secure_boot for one in machines],
        [None if one.rack is None else racks[one.rack] for one in machines],
        [one.unit for one in machines],
        [one.bmc_fingerprint for one in machines],
    )
    if not rows:
        raise EnrolmentRefused(f"facility {facility!r} does not exist")
    # Whoever was found at the ports boots again, as these machines.
    for port_id in [row["port_id"] for row in await conn.fetch(Q["found_at_ports"], list(ports.values()))]:
        await conn.fetch(Q["forget_discovery"], port_id)
    new = {row["name"]: row["id"] for row in rows if row["state"] == "enrolled"}
    for minutes in sorted({one.burn_in_minutes for one in machines if one.name in new}):
        started = [new[one.name] for one in machines if one.name in new and one.burn_in_minutes == minutes]
        await _start(conn, started, minutes, means)


async def _start(conn: Connection, machines: list[UUID], minutes: int, means: Means) -> None:
    """All of them on their way to the pool."""
    now, limit = means.clock.now(), timedelta(seconds=means.settings.erase_limit_s + 60 * minutes)
    workflow, why, asked = PREPARE, "it was enrolled", {}
    if minutes:
        workflow, why = BURN_IN, "it is burnt in"
        asked = {"burn_in": {"seconds": 60 * minutes, "parts": list(PARTS)}}
    data = {"why": why, **asked}
    first = workflow.steps[0].name
    rows = await conn.fetch(Q["start_enrolled"], machines, workflow.name, first, data, now + limit, now, why)
    await hint(Queries.from_asyncpg_connection(conn), {f"{row['run_id']}:0": row["run_id"] for row in rows})

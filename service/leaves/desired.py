"""What the database says a leaf should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Protocol
from uuid import UUID

from ipam.ledger import Tenure, held_by_all
from netconf.desired import BgpSession, Exemption, Leaf, Link, LinkRole, Port, Profile
from service.bgp import announced_by
from service.leaves.fabric import FabricEntry
from service.secrets import KeyRing, open_sealed
from service.settings import Settings, listed
from service.store.rows import Connection
from sql.loader import Q

_ROLES = {
    "boot": LinkRole.BOOT,
    "boot6": LinkRole.BOOT,
    "public": LinkRole.PUBLIC,
    "private": LinkRole.PRIVATE,
    "ipv6": LinkRole.IPV6,
}


class Known(Protocol):
    """What of a process's share of the world says how leaves should be."""

    @property
    def settings(self) -> Settings:
        """The service's settings."""

    @property
    def key(self) -> KeyRing:
        """Opens what is sealed in the database."""


async def desired_leaf(conn: Connection, leaf_id: UUID, name: str, parts: Known) -> tuple[Leaf, list[Any]]:
    """What the leaf should be, with the port rows that it was read from.

    `conn` is in a transaction that sees one moment (repeatable read), or else the answer may mix two.
    """
    rows = await conn.fetch(Q["ports_of_leaf"], leaf_id)
    devices = [row["device_id"] for row in rows if row["device_id"]]
    held = await held_by_all(conn, [row["id"] for row in rows] + devices)
    bgp = await announced_by(conn, devices, key=parts.key)
    ports = tuple(_port(row, held, bgp) for row in rows)
    settings = parts.settings
    named = listed(settings.boot_nodes) or [name for name in (settings.boot_host, settings.boot_host6) if name]
    servers = tuple(ip_address(name) for name in named)
    mirrors = tuple(ip_network(prefix) for prefix in listed(settings.mirrors))
    fabric = await conn.fetchval(Q["fabric_of_leaf"], leaf_id)
    exempt = [
        Exemption(tuple(row["object"]), row["instead_of"], open_sealed(parts.key, row["accepted"]))
        for row in await conn.fetch(Q["exemptions_of_leaf"], leaf_id)
    ]
    leaf = Leaf(
        name,
        ports,
        servers,
        tuple(ip_network(server) for server in servers),
        mirrors,
        None if fabric is None else FabricEntry.model_validate(fabric).desired(),
        tuple(exempt),
    )
    return leaf, rows


def _port(row: Any, held: Mapping[UUID, Sequence[Tenure]], bgp: Mapping[UUID, tuple[BgpSession, ...]]) -> Port:
    device_id = row["device_id"]
    tenures = [*held[row["id"]], *(held[device_id] if device_id else [])]
    links = tuple(sorted(Link(_ROLES[tenure.slot], tenure.leaf) for tenure in tenures if tenure.slot in _ROLES))
    elastic = tuple(
        sorted((one.block for one in tenures if one.kind != "held"), key=lambda block: (block.version, block))
    )
    has = {link.role for link in links}
    return Port(
        row["name"],
        Profile(row["profile"]),
        links,
        row["generation"],
        " ".join(part for part in (row["machine"], str(device_id or "")[:8]) if part),
        elastic,
        tuple(session for session in bgp.get(device_id, ()) if session.link in has) if device_id else (),
        row["take_over"],
    )

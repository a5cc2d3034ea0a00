"""The reverse zones that follow from the tree, and the names that belong into them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ipam.internet import INTERNET
from ipam.reverse import Address, Zone, default_name, zones_of
from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Cut:
    """A zone, and the prefix at the top of the tree that it was cut from."""

    zone: Zone
    prefix_id: int
    vrf_id: int


async def zones(conn: Connection) -> list[Cut]:
    """All reverse zones, by address."""
    return [
        Cut(zone, row["id"], row["vrf_id"])
        for row in await conn.fetch(Q["reverse_roots"], INTERNET)
        for zone in zones_of(row["cidr"])
    ]


async def names(conn: Connection, cut: Cut, template: str) -> list[tuple[Address, str]]:
    """The names that a zone should have, by address."""
    rows = await conn.fetch(Q["reverse_wanted"], cut.vrf_id, cut.zone.network, template)
    found = [(ip_address(row["address"]), name_of(row, template)) for row in rows]
    return [(address, name) for address, name in found if name is not None]


def name_of(row: Any, template: str) -> str | None:
    """The name by a row of `ptr_wanted`: the one that somebody gave, or the one by the template."""
    if row["given"] is not None:
        return str(row["given"])
    if row["hostname"] is None:
        return None
    return default_name(
        template,
        ip_address(row["address"]),
        hostname=row["hostname"],
        facility=row["facility"],
        device=str(row["device_id"])[:8],
    )

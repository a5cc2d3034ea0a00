"""Machines that nobody has enrolled, in the database: where they are, what is known of them, and their BMCs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from uuid import UUID

from service.bom import Fit, arch_of, bom_of, held_against
from service.newcomers import ALIVE, Found, Known, Place
from service.store.rows import Connection, Pool
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class BmcAccess:
    """Where BMCs are and who we are there at first; the secret is sealed. `of_port`: said of this port alone."""

    id: UUID
    url: str
    search: IPv4Network | IPv6Network | None
    username: str
    secret: bytes
    of_port: bool


async def place_of(db: Connection | Pool, port_id: UUID) -> Place:
    """The port as the rules see it."""
    return Place(**await db.fetchrow(Q["place_of_port"], port_id))


async def found_at(db: Connection | Pool, port_id: UUID) -> list[Found]:
    """Everybody who said hello at the port and was not forgotten since."""
    return [Found(**row) for row in await db.fetch(Q["found_at_port"], port_id)]


async def others_gone(conn: Connection, port_id: UUID, mac: str, now: datetime) -> None:
    """Forget those that were at the port before this card, and are not heard any more."""
    await conn.execute(Q["gone_from_port"], port_id, mac, now - ALIVE)


async def known_like(db: Connection | Pool, macs: Sequence[str], serial: str) -> list[Known]:
    """Machines on record that have one of the cards, or the serial number."""
    return [Known(**row) for row in await db.fetch(Q["known_of_cards"], list(macs), serial)]


async def fits_of(db: Connection | Pool, inventory: dict[str, Any]) -> list[Fit]:
    """The machine held against each plan of its architecture."""
    arch = arch_of(inventory)
    bills = {row["slug"]: row["bom"] or bom_of(row["specs"]) for row in await db.fetch(Q["plans_with_bom"])}
    return [held_against(plan, bom, inventory) for plan, bom in bills.items() if bom.get("arch", arch) == arch]


async def accesses_for(db: Connection | Pool, port_id: UUID) -> list[BmcAccess]:
    """What is known of the BMC at the port: of the port itself first, then of its facility."""
    return [BmcAccess(**row) for row in await db.fetch(Q["bmc_access_of_port"], port_id)]

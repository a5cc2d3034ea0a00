"""Elastic reservations and assignments as customers see them, with what they say of them beside the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ipam.space import Network
from service.store.accounts import Principal, Scope, in_order
from service.store.rows import Connection
from sql.loader import Q

ANYBODY: Scope = (True, [], [])  # the scope of whoever may see everything: `Principal.scope` of staff


def gateway_of(block: Network) -> str:
    """The address that the dialect names as an elastic block's gateway: the first that is not the network's own."""
    return str(block.network_address + (block.num_addresses > 1))


@dataclass(frozen=True, slots=True)
class Reservation:
    """A project's elastic block. `facility` is a code, None for a global one; `until` is None while it lasts."""

    id: UUID
    project_id: UUID
    vrf_id: int
    block: Network
    since: datetime
    until: datetime | None
    opened_by: str
    global_ip: bool
    type: str
    facility: str | None
    details: str | None
    tags: list[str]
    customdata: dict[str, Any]
    assignment_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A block of a reservation, whole or a part, that leads to a device."""

    id: UUID
    block: Network
    device_id: UUID
    reservation_id: UUID
    parent: Network
    since: datetime
    global_ip: bool
    type: str
    project_id: UUID
    facility_id: UUID
    details: str | None
    tags: list[str]
    customdata: dict[str, Any]
    manageable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFilter:
    """What a list of a project's addresses is narrowed down to; None means any."""

    types: list[str]
    management: bool | None = None
    tag: str | None = None
    facilities: list[str] | None = None
    metros: list[str] | None = None


async def addresses_page(
    db: Connection, project_id: UUID, wanted: AddressFilter, limit: int, offset: int
) -> tuple[int, list[UUID], set[UUID]]:
    """How many addresses of a project match, the ids of one page, newest first, and which are management blocks.

    Of a management block the id is the assignment's, of an elastic one the reservation's.
    """
    row = await db.fetchrow(
        Q["addresses_of_project"],
        project_id,
        wanted.types,
        wanted.management,
        wanted.tag,
        wanted.facilities,
        wanted.metros,
        limit,
        offset,
    )
    return row["total"], row["ids"], set(row["management_ids"])


async def reservations(
    db: Connection, principal: Principal, ids: Sequence[UUID], *, ended_too: bool = False
) -> list[Reservation]:
    """Those of the reservations that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["reservations_by_ids"], *principal.scope, list(ids), ended_too)
    return in_order([Reservation(**row) for row in rows], ids)


async def reservation_around(db: Connection, project_id: UUID, block: Network) -> UUID | None:
    """The project's reservation that a block lies in."""
    found: UUID | None = await db.fetchval(Q["reservation_around"], project_id, block)
    return found


async def assignments(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Assignment]:
    """Those of the elastic assignments that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["assignments"], *principal.scope, list(ids), [])
    return in_order([Assignment(**row) for row in rows], ids)


async def assignments_of(db: Connection, device_ids: Sequence[UUID]) -> Mapping[UUID, list[Assignment]]:
    """What of elastic blocks leads to each of the devices, in address order."""
    found: dict[UUID, list[Assignment]] = {id_: [] for id_ in device_ids}
    for row in await db.fetch(Q["assignments"], *ANYBODY, [], list(device_ids)):
        found[row["device_id"]].append(Assignment(**row))
    return found


async def set_label(
    conn: Connection,
    id_: UUID,
    *,
    details: str | None = None,
    tags: Sequence[str] = (),
    customdata: Mapping[str, Any] | None = None,
    manageable: bool = True,
    request_key: UUID | None = None,
    request: bytes | None = None,
) -> None:
    """What a customer says of a new reservation or assignment; what was said before stays.

    `request_key` and `request` tell which request made it, for one that comes again.
    """
    if details is None and not tags and not customdata and manageable and request_key is None:
        return
    values = (details, list(tags), dict(customdata or {}), manageable, request_key, request)
    await conn.execute(Q["add_label"], id_, *values)

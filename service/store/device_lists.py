"""Pages of devices: what a list is narrowed down to and sorted by.

A page costs the same however long the list is: how many devices there are is kept (`device_tally`), and what they are
sorted by is indexed. Only what is narrowed down by more than place and plan is counted, and only a search for one or
two letters, or for what many devices share, looks at every device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from service.store.accounts import Principal
from service.store.conditions import Conditions
from service.store.rows import Connection
from sql.loader import Q

# As an index has it, and the same from its end. In the first, those of `_ASCENDING` ascend and the others descend.
_ORDERS: Mapping[str, tuple[str, str]] = {
    "created_at": ("d.created_at DESC, d.id", "d.created_at, d.id DESC"),
    "updated_at": ("d.updated_at DESC, d.created_at DESC, d.id", "d.updated_at, d.created_at, d.id DESC"),
    "hostname": ("d.hostname, d.created_at DESC, d.id", "d.hostname DESC, d.created_at, d.id DESC"),
    "state": ("d.state, d.created_at DESC, d.id", "d.state DESC, d.created_at, d.id DESC"),
}
_ASCENDING = ("hostname", "state")
SORTABLE = tuple(_ORDERS)

_WORDS = "position(lower({0}) IN lower(d.hostname || ' ' || coalesce(d.description, ''))) > 0"
_TAGGED = "d.search_keys @> ARRAY['#' || lower({0})] AND lower({0}) = ANY(SELECT lower(unnest(d.tags)))"
_NO_ID = "00000000-0000-0000-0000-000000000000"
_ID = re.compile(r"[0-9a-f-]{1,36}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """What a list of devices is narrowed down to; None means any."""

    project_id: UUID | None = None
    organization_id: UUID | None = None
    hostname: str | None = None
    facilities: list[str] | None = None
    metros: list[str] | None = None
    tag: str | None = None
    states: list[str] | None = None
    plans: list[str] | None = None
    mac: str | None = None
    search: str | None = None
    search_systems: list[str] = field(default_factory=list)  # the slugs of those whose name the search word is part of
    search_address: str | None = None
    order: str = "-created_at"
    reserved: bool | None = None  # on reserved hardware
    ends: bool | None = None  # has a termination time


async def devices_page(
    db: Connection, principal: Principal, wanted: DeviceFilter, limit: int, offset: int
) -> tuple[int, list[UUID]]:
    """How many devices match, and the ids of one page."""
    narrowed = await db.fetchrow(
        Q["device_list_narrowed"],
        *principal.scope,
        wanted.project_id,
        wanted.organization_id,
        wanted.facilities,
        wanted.metros,
        wanted.plans,
        wanted.search,
        wanted.search_address,
    )
    places = (narrowed["projects"], narrowed["facilities"], narrowed["plans"])
    total: int = await db.fetchval(Q["devices_kept_count"], *places)
    conditions = Conditions()
    for column, ids in zip(("d.project_id", "d.facility_id", "d.plan_id"), places, strict=True):
        conditions.one_of(column, ids)
    kept = len(conditions)
    _narrow(conditions, wanted, narrowed)
    if len(conditions) > kept and total:
        total = await db.fetchval(conditions.after(Q["devices_counted"]), *conditions.arguments)
    if offset >= total:
        return total, []
    return total, await _ids(db, conditions, wanted.order, total, min(limit, total - offset), offset)


def _narrow(conditions: Conditions, wanted: DeviceFilter, narrowed: Mapping[str, Any]) -> None:
    """Add what is more than place and plan."""
    if wanted.hostname is not None:
        conditions.add("d.hostname = {0}", wanted.hostname)
    if wanted.states is not None:
        conditions.add("d.state = ANY({0})", wanted.states)
    if wanted.tag is not None:
        conditions.add("d.tags @> ARRAY[{0}::text] AND d.tags <> '{{}}'", wanted.tag)
    if wanted.mac is not None:
        conditions.add("d.id = (SELECT x.device_id FROM machine AS x WHERE x.mac::text = lower({0}))", wanted.mac)
    if wanted.reserved is not None:
        conditions.add("(d.reservation_id IS NOT NULL) = {0}", wanted.reserved)
    if wanted.ends is not None:
        conditions.add("(d.termination_time IS NOT NULL) = {0}", wanted.ends)
    if wanted.search is not None:
        _search(conditions, wanted.search, wanted.search_systems, narrowed)


def _search(conditions: Conditions, word: str, systems: Sequence[str], narrowed: Mapping[str, Any]) -> None:
    """What a word may be: each of the ways has an index, so that none is asked for that can find nothing."""
    if keys := narrowed["search_keys"]:
        conditions.either(f"d.search_keys @> {{1}} AND {_WORDS}", word, keys)
    else:
        conditions.either(_WORDS, word)  # too short for the index: every device is looked at
    conditions.either(_TAGGED, word)
    if ids := _ids_beginning(word.lower()):
        conditions.either("d.id BETWEEN {0} AND {1}", *ids)
    for column, among in (
        ("d.operating_system", [*systems, *narrowed["search_systems"]]),
        ("d.facility_id", narrowed["search_facilities"]),
        ("d.plan_id", narrowed["search_plans"]),
        ("d.id", narrowed["search_owners"]),
    ):
        if among:
            conditions.either(f"{column} = ANY({{0}})", among)
    conditions.meet_one()


def _ids_beginning(word: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin so, if any does."""
    fits = _ID.fullmatch(word) and all((one == "-") is (other == "-") for one, other in zip(word, _NO_ID, strict=False))
    rest = _NO_ID[len(word) :]
    return (UUID(word + rest), UUID(word + rest.replace("0", "f"))) if fits else None


async def _ids(db: Connection, conditions: Conditions, order: str, total: int, limit: int, offset: int) -> list[UUID]:
    """The ids of a page, which is read from the nearer end of the list."""
    name = order.removeprefix("-")
    from_end = (name in _ASCENDING) is order.startswith("-")
    behind = total - offset - limit
    turned = behind < offset
    query = conditions.page(Q["devices_listed"], _ORDERS[name][from_end is not turned])
    rows = await db.fetch(query, *conditions.arguments, limit, behind if turned else offset)
    ids = [row["id"] for row in rows]
    return ids[::-1] if turned else ids

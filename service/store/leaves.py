"""Leaves in the database: what is known of each, what operators accepted there, and asking for a fresh look."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from netconf.drift import DriftedObject
from netconf.owned import from_xml
from netconf.render import Element
from service.secrets import KeyRing, open_sealed, seal
from service.store.notify import Hub
from service.store.rows import Connection, Pool
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class LeafRow:
    """A leaf. Its secrets, and its configuration as it was seen last, are sealed."""

    id: UUID
    name: str
    facility: str
    host: str
    port: int
    username: str
    secret: bytes
    private_key: bytes | None
    host_key: str
    state: str
    fault: str | None
    epoch: int
    database: str
    fabric: dict[str, Any] | None
    generation: int
    applied: int
    rendering: str | None
    commit_s: float | None
    running: bytes | None
    running_at: datetime | None
    read_asked_at: datetime | None
    drifted: int
    locked_since: datetime | None
    sessions: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafEnrolment:
    """What a leaf is enrolled with. Of one that is there already, its secrets stay where `secret` is None, and so do
    its fabric and its place where those are."""

    facility: str  # its code
    name: str
    host: str
    port: int  # of NETCONF
    username: str
    secret: bytes | None  # the password, sealed; that of "" goes with a private key
    private_key: bytes | None = None  # sealed
    host_key: str
    fabric: dict[str, Any] | None = None
    rack_id: UUID | None = None
    rack_unit: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An object that an operator accepts as it runs, and what of it differs from ours."""

    object: tuple[str, ...]
    instead_of: str
    xml: str
    difference: str
    accepted_by: str
    accepted_at: datetime


async def enrol_leaf(conn: Connection, leaf: LeafEnrolment) -> UUID | None:
    """Write the leaf down; its id, or None where the facility does not exist."""
    login = (leaf.host, leaf.port, leaf.username, leaf.secret, leaf.host_key, leaf.private_key)
    rest = (leaf.fabric, leaf.rack_id, leaf.rack_unit)
    leaf_id: UUID | None = await conn.fetchval(Q["enrol_leaf"], leaf.facility, leaf.name, *login, *rest)
    return leaf_id


async def leaf_row(conn: Connection, name_or_id: str, *, lock: bool = False) -> LeafRow | None:
    """The leaf of that name or id; with `lock`, its row is locked for as long as the transaction lasts."""
    if lock:
        await conn.execute(Q["lock_leaf_row"], name_or_id)
    row = await conn.fetchrow(Q["leaf_row"], name_or_id)
    return None if row is None else LeafRow(**row)


def running_of(row: LeafRow, key: KeyRing) -> Element | None:
    """The leaf's configuration as it was seen last, as far as we look at it; None when it never was."""
    return None if row.running is None else from_xml(open_sealed(key, row.running))


async def ask_read(db: Pool, hub: Hub, leaf_id: UUID, *, timeout_s: float) -> bool:
    """Have the leaf read anew by the process that drives it; whether that has happened within the time."""
    until = asyncio.get_running_loop().time() + timeout_s
    async with hub.watch(f"leafread:{leaf_id}") as watch:
        asked = await db.fetchval(Q["ask_leaf_read"], leaf_id)
        while not await db.fetchval(Q["leaf_seen_since"], leaf_id, asked):
            left = until - asyncio.get_running_loop().time()
            if left <= 0 or not await watch.changed(left):
                return bool(await db.fetchval(Q["leaf_seen_since"], leaf_id, asked))
    return True


async def raise_generation(conn: Connection, leaf_id: UUID) -> None:
    """Have all of the leaf made as it should be, whatever runs there."""
    await conn.execute(Q["raise_leaf"], leaf_id)


async def exemptions_of(conn: Connection, leaf_id: UUID, key: KeyRing) -> list[Accepted]:
    """What was accepted on the leaf, also what has lapsed since."""
    return [
        Accepted(
            tuple(row["object"]),
            row["instead_of"],
            open_sealed(key, row["accepted"]),
            row["difference"],
            row["accepted_by"],
            row["accepted_at"],
        )
        for row in await conn.fetch(Q["exemptions_of_leaf"], leaf_id)
    ]


async def accept(
    conn: Connection, leaf_id: UUID, drifted: DriftedObject, *, by: str, now: datetime, key: KeyRing
) -> None:
    """Let the object be as it runs, for as long as ours in its place would not change."""
    sealed = seal(key, drifted.xml)
    row = (leaf_id, list(drifted.key), drifted.instead_of, sealed, drifted.text, by, now)
    await conn.execute(Q["accept_drift"], *row)


async def revoke(conn: Connection, leaf_id: UUID, object_: tuple[str, ...]) -> bool:
    """Accept the object no longer; False when it was not accepted."""
    return bool(await conn.fetchval(Q["revoke_exemption"], leaf_id, list(object_)))

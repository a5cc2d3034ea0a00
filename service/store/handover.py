"""How machines are handed over to the systems on their disks, by hardware model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args
from uuid import UUID

from images.protocol import Handover
from service.store.rows import Connection, Pool
from sql.loader import Q

WAYS: tuple[Handover, ...] = get_args(Handover)  # without a rule: in this order


@dataclass(frozen=True, slots=True)
class HandoverRule:
    """One rule. An empty `vendor` or `product`, or a `plan` that is None, stands for any."""

    id: UUID
    plan: str | None
    vendor: str
    product: str
    ways: list[Handover]
    note: str
    changed_at: datetime
    changed_by: str


async def ways_of(db: Connection | Pool, machine_id: UUID) -> list[Handover]:
    """The ways that the machine's model knows, in order of preference."""
    return await db.fetchval(Q["handover_ways"], machine_id) or list(WAYS)


async def rules(db: Connection | Pool) -> list[HandoverRule]:
    """Every rule."""
    return [HandoverRule(**row) for row in await db.fetch(Q["handover_rules"])]


async def set_rule(
    conn: Connection,
    *,
    plan_id: UUID | None,
    vendor: str,
    product: str,
    ways: Sequence[Handover],
    note: str,
    now: datetime,
    by: str,
) -> UUID:
    """Make the rule for that model, or change it; its id."""
    rule_id: UUID = await conn.fetchval(Q["set_handover_rule"], plan_id, vendor, product, list(ways), note, now, by)
    return rule_id


async def delete_rule(conn: Connection, rule_id: UUID) -> bool:
    """Take a rule away; False where there is none."""
    return bool(await conn.fetchval(Q["delete_handover_rule"], rule_id))

"""Inventories in the database: what a machine tells is kept, and what changed since the last time is an event."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog

from service.inventories import cable_finding, changes, merged
from service.store.events import add_event
from service.store.hardware import machine_by_id
from service.store.rows import Connection
from sql.loader import Q

log = structlog.get_logger()


async def told_inventory(conn: Connection, machine_id: UUID, told: dict[str, Any]) -> None:
    """Keep what the machine tells of itself, beside what it told before. In the caller's transaction."""
    known: dict[str, Any] = await conn.fetchval(Q["inventory_locked"], machine_id)
    machine = await machine_by_id(conn, machine_id)
    new = merged(known, told)
    if new == known:
        return
    await conn.execute(Q["set_inventory"], machine_id, new)
    if found := changes(known, new):
        log.warning("inventory_changed", machine=machine.name, changes=found)
        body = f"{machine.name}: {'; '.join(found)}"
        await add_event(
            conn, "machine.inventory_changed", body, machine_id=machine_id, private=True, data={"changes": found}
        )
    where = {"machine": machine.name, "mac": machine.mac, "leaf": machine.leaf, "port": machine.port}
    wrong = cable_finding(new, **where)
    if wrong is not None and wrong != cable_finding(known, **where):
        log.warning("wrong_cable", leaf=machine.leaf, port=machine.port, mac=machine.mac, finding=wrong)
        await add_event(conn, "machine.wrong_cable", wrong, machine_id=machine_id, private=True)

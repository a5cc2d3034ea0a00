"""Events: what happened to a device or a machine, in the order in which it happened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


async def add_event(
    conn: Connection,
    type_: str,
    body: str,
    *,
    device_id: UUID | None = None,
    machine_id: UUID | None = None,
    project_id: UUID | None = None,
    state: str | None = None,
    private: bool = False,
    data: dict[str, Any] | None = None,
) -> None:
    """Record an event and wake whoever watches the device. `private` events are for staff only."""
    await conn.execute(Q["add_event"], type_, body, device_id, machine_id, project_id, state, private, data or {})

"""Pages of events, newest first. How many a project has is kept (`event_tally`); those of a device are few."""

from __future__ import annotations

from uuid import UUID

from service.store.accounts import Principal
from service.store.conditions import Conditions
from service.store.orders import Event, events
from service.store.rows import Connection
from sql.loader import Q


async def events_page(
    db: Connection,
    principal: Principal,
    limit: int,
    offset: int,
    *,
    device_id: UUID | None = None,
    project_id: UUID | None = None,
    organization_id: UUID | None = None,
    type_: str | None = None,
) -> tuple[int, list[Event]]:
    """How many events match, and one page of them, newest first. Customers never see private ones."""
    projects = await db.fetchval(Q["event_list_narrowed"], *principal.scope, project_id, organization_id)
    conditions = Conditions()
    conditions.one_of("e.project_id", projects)
    if not principal.staff:
        conditions.add("NOT e.private")
    if device_id is not None:
        conditions.add("e.device_id = {0}", device_id)
    if type_ is not None:
        conditions.add("e.type = {0}", type_)
    total: int
    if device_id is None and type_ is None:
        total = await db.fetchval(Q["events_kept_count"], projects, principal.staff)
    else:
        total = await db.fetchval(conditions.after(Q["events_counted"]), *conditions.arguments)
    if offset >= total:
        return total, []
    limit = min(limit, total - offset)
    behind = total - offset - limit
    turned = behind < offset  # it is read from the nearer end of the list
    query = conditions.page(Q["events_listed"], "e.seq" if turned else "e.seq DESC")
    rows = await db.fetch(query, *conditions.arguments, limit, behind if turned else offset)
    ids = [row["id"] for row in rows]
    return total, await events(db, principal, ids[::-1] if turned else ids)

"""BGP as customers have it: a project's configuration and its devices' sessions, every version of which is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from service.store.accounts import Principal
from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class BgpConfig:
    """What a project's sessions have in common. `md5` is sealed; `since` is when it became so."""

    id: UUID
    project_id: UUID
    deployment_type: str  # local or global
    asn: int
    md5: bytes | None
    use_case: str | None
    status: str  # requested or enabled
    requested_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class BgpSession:
    """A device's session of one address family ("ipv4" or "ipv6") with its leaf."""

    id: UUID
    device_id: UUID
    project_id: UUID
    address_family: str
    default_route: bool
    created_at: datetime
    since: datetime


async def bgp_config(db: Connection, project_id: UUID) -> BgpConfig | None:
    """The project's configuration now."""
    row = await db.fetchrow(Q["bgp_config_of_project"], project_id)
    return None if row is None else BgpConfig(**row)


async def set_bgp_config(conn: Connection, wanted: BgpConfig, *, now: datetime, by: str) -> None:
    """Make this the project's configuration; what it was stays in the table, ended."""
    since = await conn.fetchval(Q["end_bgp_config"], wanted.project_id, now) or now
    await conn.execute(
        Q["add_bgp_config"],
        wanted.id,
        wanted.project_id,
        wanted.deployment_type,
        wanted.asn,
        wanted.md5,
        wanted.use_case,
        wanted.status,
        wanted.requested_at,
        by,
        since,
    )


async def bgp_sessions(
    db: Connection,
    principal: Principal,
    *,
    id_: UUID | None = None,
    device_id: UUID | None = None,
    project_id: UUID | None = None,
) -> list[BgpSession]:
    """The sessions that last and that the principal may see, the oldest first."""
    rows = await db.fetch(Q["bgp_sessions"], *principal.scope, id_, device_id, project_id)
    return [BgpSession(**row) for row in rows]


async def bgp_sessions_by_ids(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[BgpSession]:
    """Those of the sessions that last and that the principal may see."""
    return [BgpSession(**row) for row in await db.fetch(Q["bgp_sessions_by_ids"], *principal.scope, list(ids))]


async def set_bgp_session(conn: Connection, wanted: BgpSession, *, now: datetime, by: str) -> BgpSession:
    """Make this the session; what it was stays in the table, ended."""
    since = await conn.fetchval(Q["end_bgp_sessions"], wanted.id, None, now, by) or now
    await conn.execute(
        Q["add_bgp_session"],
        wanted.id,
        wanted.device_id,
        wanted.address_family,
        wanted.default_route,
        wanted.created_at,
        by,
        since,
    )
    return replace(wanted, since=since)

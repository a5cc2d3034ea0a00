"""BGP between devices and their leaves: who a leaf is to a device, what it takes from it, and when that has changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from ipam.bgp import PEER_AS, Accepted, Held, accepted
from ipam.ledger import Tenure
from ipam.space import Network
from netconf.desired import Announcement, LinkRole
from netconf.desired import BgpSession as LeafSession
from service.secrets import KeyRing, SecretUnreadable, open_sealed
from service.store.bgp import BgpConfig, BgpSession, bgp_config
from service.store.elastic import ANYBODY
from service.store.hardware import port_changed
from service.store.rows import Connection
from sql.loader import Q

log = structlog.get_logger()

# The link that a session runs over, by address family.
_SLOTS = {"ipv4": "private", "ipv6": "ipv6"}
_ROLES = {"ipv4": LinkRole.PRIVATE, "ipv6": LinkRole.IPV6}


def password_of(config: BgpConfig, key: KeyRing) -> str | None:
    """The MD5 password (RFC 2385) in plain; None where there is none, or where it cannot be read."""
    return None if config.md5 is None else _opened(config.md5, config.project_id, key)


def _opened(md5: bytes, project_id: UUID, key: KeyRing) -> str | None:
    try:
        return open_sealed(key, md5)
    except SecretUnreadable:
        log.error("bgp_password_unreadable", project_id=str(project_id))
        return None


def _held(row: Any) -> Held:
    return Held(row["block"], row["facility"], tuple(row["led"]))


async def announced_by(
    conn: Connection, device_ids: Sequence[UUID], *, key: KeyRing
) -> dict[UUID, tuple[LeafSession, ...]]:
    """What the leaves should listen to from each of these devices that has sessions.

    A session whose password cannot be read is left out: without one it would be anybody's.
    """
    rows = await conn.fetch(Q["bgp_of_devices"], list(device_ids))
    if not rows:
        return {}
    held: dict[UUID, list[Held]] = {}
    for row in await conn.fetch(Q["reservations_announced"], sorted({row["project_id"] for row in rows})):
        held.setdefault(row["project_id"], []).append(_held(row))
    found: dict[UUID, tuple[LeafSession, ...]] = {}
    for row in rows:
        family = row["address_family"]
        password = "" if row["md5"] is None else _opened(row["md5"], row["project_id"], key)
        if password is None:
            continue
        taken = accepted(held.get(row["project_id"], []), row["facility"], 6 if family == "ipv6" else 4)
        session = LeafSession(
            _ROLES[family],
            row["asn"],
            tuple(Announcement(one.prefix, one.exact) for one in taken),
            row["default_route"],
            password,
        )
        found[row["device_id"]] = (*found.get(row["device_id"], ()), session)
    return found


async def bgp_changed(conn: Connection, project_id: UUID, *, now: datetime, gone: Sequence[Network] = ()) -> None:
    """What the project's devices may announce has changed: their leaves look again.

    Blocks that are `gone` go to no other customer before the leaves were seen without them.
    """
    ports = [row["id"] for row in await conn.fetch(Q["bgp_ports_changed"], project_id, now)]
    if ports and gone:
        await conn.execute(Q["withdrawn_from_ports"], ports, list(gone))


async def session_ended(conn: Connection, device_id: UUID, *, now: datetime) -> None:
    """A session of the device is over: its leaf looks again, and until it was seen without it nothing that could be
    announced in it goes to another customer."""
    await port_changed(conn, device_id, now=now)
    await conn.execute(Q["announcements_withdrawn"], device_id, None)


async def port_closing(conn: Connection, device_id: UUID, port_id: UUID) -> None:
    """As `session_ended`, for the port that a device leaves; the port's new generation is set already."""
    await conn.execute(Q["announcements_withdrawn"], device_id, port_id)


async def neighbors(db: Connection, device_id: UUID, links: Sequence[Tenure], *, key: KeyRing | None) -> list[Any]:
    """The neighbours of a device with these links, one a session. Without `key` the passwords are left out.

    A session is with the device's own leaf over its private or its IPv6 link, one hop away. There are none before the
    project's configuration is enabled, nor before the device has the link.
    """
    at = await db.fetchrow(Q["bgp_of_device"], device_id)
    config = await bgp_config(db, at["project_id"])
    if config is None or config.status != "enabled":
        return []
    sessions = [BgpSession(**row) for row in await db.fetch(Q["bgp_sessions"], *ANYBODY, None, device_id, None)]
    if not sessions:
        return []
    held = [_held(row) for row in await db.fetch(Q["reservations_announced"], [at["project_id"]])]
    by_slot = {link.slot: link for link in links}
    password = None if key is None else password_of(config, key)
    return [
        _neighbor(session, config, link, password, accepted(held, at["facility"], link.host.version))
        for session in sessions
        if (link := by_slot.get(_SLOTS[session.address_family])) is not None
    ]


def _neighbor(
    session: BgpSession, config: BgpConfig, link: Tenure, password: str | None, routes: Sequence[Accepted]
) -> dict[str, Any]:
    return {
        "address_family": link.host.version,
        "customer_as": config.asn,
        "customer_ip": str(link.host.ip),
        "default_route": session.default_route,
        "md5_enabled": config.md5 is not None,
        "md5_password": password,
        "multihop": False,
        "peer_as": PEER_AS,
        "peer_ips": [str(link.leaf.ip)],
        "routes_in": [{"route": str(one.prefix), "exact": one.exact} for one in routes],
        "routes_out": [{"route": "::/0" if link.host.version == 6 else "0.0.0.0/0", "exact": True}]
        if session.default_route
        else [],
    }

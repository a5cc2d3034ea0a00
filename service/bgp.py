"""A device's BGP neighbours: who its leaf is to it, and what its leaf takes from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from ipam.bgp import PEER_AS, Accepted, Held, accepted
from ipam.ledger import Tenure
from service.secrets import SecretUnreadable, open_sealed
from service.store.bgp import BgpConfig, BgpSession, bgp_config
from service.store.elastic import ANYBODY
from service.store.rows import Connection
from sql.loader import Q

log = structlog.get_logger()

_SLOTS = {"ipv4": "private", "ipv6": "ipv6"}  # the link that a session runs over, by address family


def password_of(config: BgpConfig, key: bytes) -> str | None:
    """The MD5 password (RFC 2385) in plain; None where there is none, or where it cannot be read."""
    if config.md5 is None:
        return None
    try:
        return open_sealed(key, config.md5)
    except SecretUnreadable:
        log.error("bgp_password_unreadable", project_id=str(config.project_id))
        return None


async def neighbors(db: Connection, device_id: UUID, links: Sequence[Tenure], *, key: bytes | None) -> list[Any]:
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
    held = [Held(**row) for row in await db.fetch(Q["reservations_announced"], at["project_id"])]
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

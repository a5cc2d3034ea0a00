"""Elastic space, reservations in it and devices that they can be led to, for tests over the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ipam.ledger import take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from tests.service.api_world import World

ELASTIC = "192.0.2.0/24"


async def reserve(world: World, **fields: Any) -> dict[str, Any]:
    wish = {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"} | fields
    answer = await world.call("POST", f"/projects/{world.project}/ips", wish)
    assert answer.status == 201, answer.body
    return dict(answer.body)


async def placed(world: World, *, facility: str = "ewr1", state: str = "active") -> UUID:
    """A device on a machine of its own, with its links, as a run leaves it."""
    (machine,) = await world.add_machines(1, facility=facility)
    answer = await world.order(facility=facility)
    assert answer.status == 201, answer.body
    device_id = UUID(answer.body["id"])
    async with world.db.acquire() as conn, conn.transaction():
        port = await conn.fetchval("SELECT port_id FROM machine WHERE id = $1", machine)
        await conn.execute("UPDATE machine SET device_id = $2, state = 'in_use' WHERE id = $1", machine, device_id)
        await conn.execute(
            "UPDATE leaf_port SET device_id = $2, profile = 'active', applied = generation WHERE id = $1",
            port,
            device_id,
        )
        await conn.execute("UPDATE device SET state = $2 WHERE id = $1", device_id, state)
        await conn.execute("UPDATE run SET state = 'done', finished_at = now() WHERE subject = $1", device_id)
        for slot in ("public", "private", "ipv6"):
            await take(
                conn, await prefixes_for(conn, slot, facility), device_id, slot, now=datetime.now(UTC), by="user:test"
            )
    return device_id


async def generation(world: World, device_id: UUID) -> int:
    return int(await world.db.fetchval("SELECT generation FROM leaf_port WHERE device_id = $1", device_id))


async def add_elastic_space(world: World) -> None:
    """Elastic space at ewr1 and sjc1, private, IPv6 and anycast space too."""
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        for cidr, role, length, facility in (
            (ELASTIC, "elastic", 32, "ewr1"),
            ("192.0.0.0/24", "elastic", 32, "sjc1"),
            ("10.99.0.0/24", "elastic", 32, "ewr1"),
            ("2001:db8:e000::/44", "elastic", 128, "ewr1"),
            ("198.18.0.0/24", "anycast", 32, None),
        ):
            await add_prefix(conn, vrf, cidr, role, block_length=length, facility=facility)

"""What others do to a virtual leaf, and what an operator asks of it through the API."""

from __future__ import annotations

import asyncio
from typing import Any

from lxml import etree

from netconf.owned import NETCONF
from netconf.session import LeafAddress, open_session
from service.lab.rack import Rack
from tests.lab.world import Customer


async def typed_in(rack: Rack, leaf: str, configuration: str) -> None:
    """Somebody else's session changes a leaf: what is inside `<configuration>`; `nc:` is NETCONF's namespace."""
    text = f'<configuration xmlns:nc="{NETCONF}">{configuration}</configuration>'
    row = next(one for one in rack.inventory()["leaves"] if one["name"] == leaf)
    address = LeafAddress(*(row[field] for field in ("host", "port", "username", "password", "host_key")))
    async with open_session(address) as session:
        await session.lock()
        await session.edit_candidate(etree.fromstring(text))
        await session.confirm(None)
        await session.unlock()


async def planned(operator: Customer, leaf: str, action: str, **arguments: Any) -> dict[str, Any]:
    """The plan of an action."""
    status, plan = await operator.call(
        "POST", f"/admin/v1/leaves/{leaf}/plans", {"action": action, "arguments": arguments}
    )
    assert status == 201, plan
    return dict(plan)


async def applied(operator: Customer, plan: dict[str, Any], *, ends: str = "done", limit: float = 60) -> dict[str, Any]:
    """The plan, carried out, and its end."""
    status, shown = await operator.call("POST", f"/admin/v1/leaf-plans/{plan['id']}/apply")
    assert status == 200, shown
    async with asyncio.timeout(limit):
        while shown["state"] == "applying":
            await asyncio.sleep(0.05)
            _, shown = await operator.call("GET", f"/admin/v1/leaf-plans/{plan['id']}")
    assert shown["state"] == ends, shown
    return dict(shown)


async def drift(operator: Customer, leaf: str) -> dict[str, Any]:
    """The leaf's drift, read now."""
    status, found = await operator.call("GET", f"/admin/v1/leaves/{leaf}/drift?read=true")
    assert status == 200 and found["fresh"], found
    return dict(found)

"""What is not there is 404 for staff, too, who pass the door everywhere; what has a name of its own is no id."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from service.api.app import ROUTES
from tests.service.api_world import World

_ASKS = {"/devices/{device}/traffic": "?direction=inbound"}
_PATHS = sorted(
    route.pattern + _ASKS.get(route.pattern, "")
    for route in ROUTES
    if "GET" in route.methods.split() and "{" in route.pattern and not route.pattern.endswith("/stream")
)


async def test_nothing_is_shown_of_what_is_not_there(world: World) -> None:
    await world.add_machines(1)
    for path in _PATHS:
        for what in (str(uuid4()), "null,null"):
            answer = await world.call("GET", re.sub(r"\{\w+\}", what, path))
            assert answer.status == 404, path


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_path_of_its_own_is_no_id(world: World, method: str) -> None:
    answer = await world.call(method, "/ips/merge", {})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert (await world.call(method, f"/ips/{uuid4()}", {})).status == 404

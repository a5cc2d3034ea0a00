"""Every role against every route, and a second tenant against everything of the first: made from the route table."""

from __future__ import annotations

import re

import pytest

from service.api.app import ROUTES
from service.api.call import Route
from service.api.door import PLACES
from service.policy import OF_STAFF, Right, Role
from tests.service.api_world import World
from tests.service.tenancy import CALLERS, UNKNOWN, Tenant, expected, state_of

_PLACEHOLDER = re.compile(r"{(\w+)}")
_NOTHING_TO_SHOW = {
    "/devices/{device}/metadata": "no machine has the sample",
    "/devices/{device}/console": "no consoles are served",
}


def _calls() -> list[tuple[str, Route]]:
    """Every method of every route; what ends the project or the organization itself comes last."""
    found = [(method, route) for route in ROUTES for method in route.methods.split()]
    ends = ("/projects/{project}", "/organizations/{organization}")
    return sorted(found, key=lambda one: one[0] == "DELETE" and one[1].pattern.endswith(ends))


async def _first(world: World) -> Tenant:
    await world.db.execute(
        """INSERT INTO bgp_config (id, project_id, deployment_type, asn, status, requested_at, set_by, during)
           VALUES (gen_random_uuid(), $1, 'local', 65000, 'enabled', now(), 'a test', tstzrange(now(), NULL))""",
        world.project,
    )
    owner = await world.add_user("first@example.org")
    await world.add_member(owner, Role.OWNER)
    return Tenant(world, world.organization, world.project, owner)


async def _second(world: World) -> Tenant:
    project = await world.other_tenant()
    row = await world.db.fetchrow(
        """SELECT p.organization_id, m.user_id FROM project AS p JOIN membership AS m USING (organization_id)
           WHERE p.id = $1""",
        project,
    )
    return Tenant(world, row["organization_id"], project, row["user_id"])


async def _status(world: World, method: str, path: str, token: str | None) -> tuple[int, str]:
    """What is answered; of a stream the status alone, for it never ends."""
    headers = {} if token is None else {"X-Auth-Token": token}
    url = world.url + path + ("?timeout=0" if path.endswith("/wait") else "")
    body: dict[str, str] | None = {} if method in ("POST", "PUT", "PATCH") else None
    async with world.http.request(method, url, headers=headers, json=body) as response:
        endless = response.content_type == "text/event-stream"
        return response.status, "" if endless else await response.text(errors="replace")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.methods} {route.pattern}")
def test_a_customers_route_names_what_the_door_can_place(route: Route) -> None:
    if route.right not in OF_STAFF | {Right.OPEN}:
        assert set(_PLACEHOLDER.findall(route.pattern)) <= set(PLACES)


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_role_may_what_the_table_says(world: World, caller: str) -> None:
    tenant, wrong = await _first(world), []
    token = await tenant.token(caller)
    tried = [(method, route, expected(caller, route)) for method, route in _calls()]
    refused = [(*one, await tenant.path(one[1].pattern)) for one in tried if one[2] is not None]
    before = await state_of(world)
    for method, route, answer, path in refused:
        status, text = await _status(world, method, path, token)
        if status != answer and not (status == 404 and UNKNOWN in path):
            wrong.append((method, route.pattern, str(route.right), answer, status, text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert await state_of(world) == before
    for method, route, answer in tried:
        if answer is None:
            path = await tenant.path(route.pattern)
            status, text = await _status(world, method, path, token)
            if status in (401, 403) or status >= 500 or (status == 404 and _all_there(route, path)):
                wrong.append((method, route.pattern, str(route.right), answer, status, text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


def _all_there(route: Route, path: str) -> bool:
    """Whether 404 would be a refusal: the path names things that are there. Staff are refused by 403 alone."""
    if route.right in OF_STAFF or UNKNOWN in path or route.pattern in _NOTHING_TO_SHOW:
        return False
    return all(PLACES.get(name) for name in _PLACEHOLDER.findall(route.pattern))


async def test_a_second_tenant_sees_and_changes_nothing_of_the_first(world: World) -> None:
    first, second, wrong = await _first(world), await _second(world), []
    token = await second.token(Role.OWNER)
    calls = [(method, route, await first.path(route.pattern)) for method, route in _calls()]
    ids = {part for _, _, path in calls for part in path.split("/") if part.count("-") == 4} - {UNKNOWN}
    ids |= {str(first.organization), str(first.project), str(first.owner)}
    before = await state_of(world)
    for method, route, path in calls:
        named = ids.intersection(path.split("/"))
        if named:
            status, text = await _status(world, method, path, token)
            if status != (403 if route.right in OF_STAFF else 404) or any(id_ in text for id_ in ids):
                wrong.append((method, route.pattern, status, text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert await state_of(world) == before
    for method, route, path in calls:
        if not ids.intersection(path.split("/")):
            status, text = await _status(world, method, path, token)
            if status >= 500 or any(id_ in text for id_ in ids):
                wrong.append((method, route.pattern, status, text[:200]))
    assert not wrong, "\n".join(map(str, wrong))

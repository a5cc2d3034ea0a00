"""Facilities and plans as operators make and change them, and what a rehearsal shows and leaves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.api_world import World

SPECS = {
    "cpus": [{"count": 1, "type": "AMD EPYC 7313P"}],
    "memory": {"total": "64GB"},
    "drives": [{"count": 2, "size": "480GB", "type": "SSD", "category": "boot"}],
    "nics": [{"count": 2, "type": "25Gbps"}],
}
PLAN: dict[str, Any] = {"slug": "e1.medium.x86", "price_hourly": 0.75, "specs": SPECS}


async def test_a_facility_is_made_with_its_metro_and_is_on_offer(world: World) -> None:
    wish = {"code": "fra2", "name": "Frankfurt 2", "metro": "fr"}
    refused = await world.call("POST", "/admin/v1/facilities", wish)
    assert (refused.status, refused.body["errors"]) == (
        422,
        ["Metro is not valid: there is no 'fr'; give metro_name and country to make it"],
    )
    made = await world.call("POST", "/admin/v1/facilities", wish | {"metro_name": "Frankfurt", "country": "DE"})
    assert made.status == 201 and made.body["machines"] == 0
    offered = (await world.call("GET", "/facilities")).body["facilities"]
    assert ("fra2", "fr") in [(one["code"], one["metro"]["code"]) for one in offered]
    again = await world.call("POST", "/admin/v1/facilities", wish)
    assert again.body["errors"] == ["Code is not valid: there is a facility fra2"]
    await world.add_machines(2)
    counts = (await world.call("GET", "/admin/v1/facilities/ewr1")).body
    assert (counts["machines"], counts["ready"], counts["leaves"]) == (2, 2, 1)


async def test_a_rehearsal_shows_the_change_and_changes_nothing(world: World) -> None:
    await world.add_machines(1)
    await world.order()
    path = "/admin/v1/plans/c1.small.x86"
    shown = (await world.call("PATCH", path, {"price_hourly": 0.55, "dry_run": True})).body
    assert (shown["before"], shown["after"]) == ({"price_hourly": 0.4}, {"price_hourly": 0.55})
    assert (shown["devices"], shown["projects"], shown["applied"]) == (1, 1, False)
    assert (await world.call("GET", path)).body["price_hourly"] == 0.4
    kept = (await world.call("PATCH", path, {"price_hourly": 0.55})).body
    assert kept["applied"] and (await world.call("GET", path)).body["price_hourly"] == 0.55
    (row,) = (await world.call("GET", "/admin/v1/audit?kind=plan")).body["audit"]
    assert (row["before"], row["after"]) == ({"price_hourly": 0.4}, {"price_hourly": 0.55})
    rename = {"name": "Newark 1", "dry_run": True}
    assert (await world.call("PATCH", "/admin/v1/facilities/ewr1", rename)).body["after"] == {"name": "Newark 1"}
    assert (await world.call("GET", "/admin/v1/facilities/ewr1")).body["name"] != "Newark 1"


async def test_a_plan_is_made_and_ordered_by_its_name_or_alias(world: World) -> None:
    made = await world.call("POST", "/admin/v1/plans", PLAN | {"aliases": ["baremetal_e"]})
    assert made.status == 201 and made.body["specs"]["arch"] == "amd64"
    await world.add_machines(1, plan="e1.medium.x86")
    assert (await world.order(plan="baremetal_e")).status == 201
    assert (await world.call("GET", "/admin/v1/plans/baremetal_e")).body["devices"] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"slug": "No Slug"}, "Slug is not valid: 'No Slug' must be small letters"),
        ({"slug": "c1.small.x86"}, "plan c1.small.x86 has one of c1.small.x86"),
        ({"aliases": ["baremetal_1"]}, "plan c1.small.x86 has one of e1.medium.x86, baremetal_1"),
        ({"price_hourly": -1}, "Price hourly is not valid: -1"),
        ({"specs": SPECS | {"memory": {"total": "much"}}}, "specs.memory.total is not valid: 'much'"),
        ({"specs": {}}, "specs.cpus can't be blank"),
    ],
)
async def test_what_is_wrong_with_a_plan_is_named(world: World, wrong: dict[str, Any], said: str) -> None:
    answer = await world.call("POST", "/admin/v1/plans", PLAN | wrong)
    assert answer.status == 422 and said in "; ".join(answer.body["errors"])
    assert (await world.call("GET", "/admin/v1/plans/e1.medium.x86")).status == 404

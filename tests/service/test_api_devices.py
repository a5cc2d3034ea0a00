"""Devices over the wire: order, list, show, change, act, delete; and everything that must change nothing."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from tests.service.api_world import ED25519, World


async def rows(world: World) -> list[int]:
    """How many rows there are in all that an order could leave behind."""
    return [
        await world.db.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("device", "run", "tenure", "idempotency", "event", "ssh_key", "project")
    ]


async def test_an_order_is_answered_with_a_whole_device(world: World) -> None:
    await world.add_machines(1)
    await world.call("POST", "/ssh-keys", {"label": "me", "key": ED25519})
    answer = await world.order(
        features={}, tags={}, locked=False, user_ssh_keys=[], public_ipv4_subnet_size=31, userdata=""
    )
    assert answer.status == 201, answer.body
    device = answer.body
    assert UUID(device["id"]).version == 4
    assert device["state"] == "queued"
    assert device["operating_system"]["slug"] == "debian_12"
    assert device["plan"]["class"] == "c1.small.x86"
    assert device["facility"]["code"] == "ewr1"
    assert device["metro"]["code"] == "ny"
    assert device["project"] == {"href": f"/projects/{world.project}"}
    assert [event["type"] for event in device["provisioning_events"]] == [
        f"provisioning.{number}" for number in range(101, 111)
    ]
    assert [port["name"] for port in device["network_ports"]] == ["bond0", "eth0"]
    assert all(UUID(port["id"]).version == 4 for port in device["network_ports"])
    assert len(device["root_password"]) >= 16
    assert device["tags"] == [] and device["customdata"] == {} and device["ip_addresses"] == []
    assert device["provisioning_percentage"] == 0.0
    assert len(device["ssh_keys"]) == 1
    row = await world.db.fetchrow("SELECT * FROM device")
    assert row["ssh_keys"] == [ED25519]
    assert device["root_password"].encode() not in row["root_password"]
    assert await world.db.fetchval("SELECT workflow FROM run WHERE subject = $1", row["id"]) == "provision"
    shown = await world.call("GET", f"/devices/{device['id']}")
    assert (shown.status, shown.body["id"]) == (200, device["id"])
    assert shown.body["root_password"] == device["root_password"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"plan": "x9.huge"}, "Plan is not valid: 'x9.huge'"),
        ({"plan": ""}, "Plan can't be blank"),
        ({"operating_system": "plan9"}, "Operating system is not valid: 'plan9'"),
        ({"operating_system": None}, "Operating system can't be blank"),
        ({"facility": "lhr9"}, "Facility is not valid: 'lhr9'"),
        ({"facility": ""}, "Facility can't be blank"),
        ({"facility": None, "metro": "zz"}, "Metro is not valid: 'zz'"),
        ({"hostname": "my host"}, "Hostname is not valid: 'my host'"),
        ({"hostname": "my_host"}, "Hostname is not valid: 'my_host'"),
        ({"hostname": "a" * 64}, "Hostname is not valid"),
        ({"hostname": "web\u0000"}, "'hostname' is not valid"),
        ({"billing_cycle": "weekly"}, "Billing cycle is not valid: 'weekly'"),
        ({"tags": {"a": 1}}, "Tags is not valid"),
        ({"customdata": "no json"}, "Customdata is not valid"),
        ({"customdata": {"a": "\ud800"}}, "'customdata' is not valid"),
        ({"facility": "sjc1"}, "There aren't available servers in that facility"),
        ({"facility": None, "metro": "sv"}, "There aren't available servers in that metro"),
        ({"plan": "c3.small.x86"}, "There aren't available servers in that facility"),
        ({"user_ssh_keys": [str(uuid4())]}, "User ssh keys is not valid"),
        ({"project_ssh_keys": ["nonsense"]}, "project_ssh_keys.0 is not valid: 'nonsense'"),
        ({"ssh_keys": [{"label": "x", "key": "ssh-rsa AAAA"}]}, "ssh_keys.0.key is not valid: 'ssh-rsa AAAA'"),
        ({"operating_system": "custom_ipxe"}, "Ipxe script url can't be blank"),
        ({"ipxe_script_url": "http://boot.example/x"}, "Ipxe script url is not valid"),
        ({"ip_addresses": [{"address_family": 4, "public": True}]}, "Ip addresses is not valid: every device needs"),
        ({"ip_addresses": [{"address_family": 6, "public": False}]}, "Ip addresses is not valid: private IPv6"),
        ({"public_ipv4_subnet_size": 28}, "Public ipv4 subnet size is not valid: 28; allowed is 31"),
        ({"hardware_reservation_id": "next-available"}, "Hardware reservation is not valid"),
        ({"spot_instance": "true"}, "Spot price max can't be blank"),
        ({"spot_instance": True, "spot_price_max": "0.01"}, "Spot price max is not valid: 0.01 for c1.small.x86"),
        ({"spot_instance": True, "spot_price_max": 1, "locked": True}, "Locked is not valid"),
        ({"termination_time": "2020-01-01T00:00:00Z"}, "Termination time is not valid"),
        ({"termination_time": "soon"}, "Termination time is not valid: 'soon'"),
        ({"storage": "all"}, "Storage is not valid"),
    ],
)
async def test_a_bad_order_says_what_is_wrong_and_changes_nothing(
    world: World, fields: dict[str, object], said: str
) -> None:
    await world.add_machines(2)
    before = await rows(world)
    answer = await world.order(**fields)
    assert answer.status == 422, answer.body
    assert any(error.startswith(said) for error in answer.body["errors"]), answer.body
    assert await rows(world) == before


async def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    answer = await world.order(plan="", operating_system="x", facility="y")
    assert [error.split(":")[0] for error in answer.body["errors"]] == [
        "Plan can't be blank",
        "Operating system is not valid",
        "Facility is not valid",
    ]


async def test_without_addresses_an_order_is_refused(world: World) -> None:
    await world.add_machines(1, facility="ams1")
    before = await rows(world)
    answer = await world.order(facility="ams1")
    assert answer.status == 422
    assert answer.body["errors"][0].startswith("There aren't available addresses in that facility")
    assert await rows(world) == before


async def test_an_order_is_refused_with_what_is_free(world: World) -> None:
    await world.add_machines(1, facility="ams1")
    added = {"prefix": "192.0.2.0/31", "role": "public", "block_length": 31, "facility": "ams1"}
    prefix = (await world.call("POST", "/ipam/v1/prefixes", added)).body["id"]
    await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})
    (told,) = (await world.order(facility="ams1")).body["errors"]
    assert told == (
        "There aren't available addresses in that facility:"
        " 192.0.2.0/31 has no free /31: nothing is free (asked for: public)"
    )


async def test_a_foreign_project_is_not_found_and_nothing_changes(world: World) -> None:
    await world.add_machines(1)
    await world.other_tenant()
    before = await rows(world)
    for project in (world.project, uuid4(), "nonsense"):
        wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
        answer = await world.call("POST", f"/projects/{project}/devices", wish, token="other-token")
        assert (answer.status, answer.body) == (404, {"errors": ["Not found"]})
    assert await rows(world) == before


async def test_machines_that_are_not_ready_are_no_capacity(world: World) -> None:
    for state in ("enrolled", "preparing", "installing", "in_use", "quarantined", "maintenance", "retired"):
        await world.add_machines(1, state=state)
    assert (await world.order()).status == 422


async def test_as_many_orders_as_machines_are_taken_however_many_come_at_once(world: World) -> None:
    await world.add_machines(3)
    answers = await asyncio.gather(*(world.order(hostname=f"web{number}") for number in range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [422] * 5
    assert await world.db.fetchval("SELECT count(*) FROM device") == 3


async def test_places_are_chosen_by_preference_or_by_what_is_free(world: World) -> None:
    await world.add_machines(1, facility="ewr1")
    await world.add_machines(3, facility="sjc1")
    assert (await world.order(facility=["ewr1", "sjc1"])).body["facility"]["code"] == "ewr1"
    assert (await world.order(facility=["ewr1", "sjc1"])).body["facility"]["code"] == "sjc1"
    assert (await world.order(facility="any")).body["facility"]["code"] == "sjc1"
    assert (await world.order(facility=None, metro="sv")).body["facility"]["code"] == "sjc1"
    assert (await world.order(facility="any")).status == 422


@pytest.mark.parametrize("name", ["baremetal_1", "c1.small.x86"])
async def test_a_plan_goes_by_old_slug_new_slug_and_id(world: World, name: str) -> None:
    await world.add_machines(2)
    plans = (await world.call("GET", "/plans")).body["plans"]
    id_ = next(plan["id"] for plan in plans if plan["slug"] == "c1.small.x86")
    for plan in (name, id_):
        assert (await world.order(plan=plan)).body["plan"]["slug"] == "c1.small.x86"


async def test_the_same_key_makes_one_device(world: World) -> None:
    await world.add_machines(5)
    path = f"/projects/{world.project}/devices"
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1", "hostname": "web1"}
    answers = await asyncio.gather(*(world.call("POST", path, wish, key="order-7") for _ in range(6)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert await world.db.fetchval("SELECT count(*) FROM device") == 1
    other = await world.call("POST", path, wish | {"hostname": "web2"}, key="order-7")
    assert other.status == 422 and "Idempotency-Key" in other.body["errors"][0]
    assert (await world.call("POST", path, wish, key="order-8")).body["id"] != answers[0].body["id"]
    await world.add_token("second", user_id=world.user)
    theirs = await world.call("POST", path, wish, key="order-7", token="second")
    assert theirs.body["id"] != answers[0].body["id"], "a key belongs to its token"


async def test_a_refused_order_leaves_its_key_free(world: World) -> None:
    path = f"/projects/{world.project}/devices"
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
    assert (await world.call("POST", path, wish, key="k")).status == 422
    await world.add_machines(1)
    assert (await world.call("POST", path, wish, key="k")).status == 201


async def test_a_repeat_shows_the_device_as_it_is_now(world: World) -> None:
    await world.add_machines(1)
    path = f"/projects/{world.project}/devices"
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
    first = await world.call("POST", path, wish, key="k")
    await world.call("PUT", f"/devices/{first.body['id']}", {"hostname": "renamed"})
    again = await world.call("POST", path, wish, key="k")
    assert (again.status, again.body["hostname"]) == (201, "renamed")
    await world.call("DELETE", f"/devices/{first.body['id']}")
    gone = await world.call("POST", path, wish, key="k")
    assert (gone.status, gone.body["id"], gone.body["state"]) == (201, first.body["id"], "deleted")


async def test_named_keys_are_the_only_ones_and_none_can_be_wished_for(world: World) -> None:
    await world.add_machines(4)
    mine = (await world.call("POST", "/ssh-keys", {"label": "mine", "key": ED25519})).body
    other = ED25519[:-4] + "AAAA"
    project_key = await world.call("POST", f"/projects/{world.project}/ssh-keys", {"label": "p", "key": other})
    assert project_key.status == 201, project_key.body

    async def keys(**fields: object) -> list[str]:
        device = (await world.order(**fields)).body
        found: list[str] = await world.db.fetchval("SELECT ssh_keys FROM device WHERE id = $1", UUID(device["id"]))
        return found

    assert await keys() == [ED25519, other]
    assert await keys(user_ssh_keys=[str(world.user)]) == [ED25519]
    assert await keys(project_ssh_keys=[project_key.body["id"]]) == [other]
    assert await keys(no_ssh_keys="true") == []
    assert mine["fingerprint"].count(":") == 15


async def test_lists_are_paged_and_filtered(world: World) -> None:
    await world.add_machines(12)
    for number in range(12):
        await world.order(
            hostname=f"web{number}", tags=["even"] if number % 2 == 0 else [], description=f"rack{number}"
        )
    path = f"/projects/{world.project}/devices"
    first = (await world.call("GET", path)).body
    assert [device["hostname"] for device in first["devices"]] == [f"web{number}" for number in range(11, 1, -1)]
    assert first["meta"]["total"] == 12 and first["meta"]["last_page"] == 2 and first["meta"]["previous"] is None
    follow = (await world.call("GET", first["meta"]["next"]["href"])).body
    assert [device["hostname"] for device in follow["devices"]] == ["web1", "web0"]
    assert follow["meta"]["next"] is None and follow["meta"]["current_page"] == 2

    async def names(query: str) -> list[str]:
        answer = await world.call("GET", f"{path}?per_page=100&{query}")
        assert answer.status == 200, answer.body
        assert answer.body["meta"]["total"] == len(answer.body["devices"])
        return [device["hostname"] for device in answer.body["devices"]]

    assert await names("hostname=web3") == ["web3"]
    assert len(await names("tag=even")) == 6
    assert await names("search=RACK11") == ["web11"]
    assert len(await names("search=Debian%2012")) == 12
    assert await names("search=100%25") == []
    assert await names(f"search={first['devices'][0]['short_id']}") == ["web11"]
    assert await names("facility=sjc1") == []
    assert len(await names("facility=ewr1&metro=ny&state=queued&plan=baremetal_1")) == 12
    assert (await names("sort_by=hostname&sort_direction=asc"))[:3] == ["web0", "web1", "web10"]
    assert (await world.call("GET", path + "?sort_by=shoe_size")).status == 422
    assert (await world.call("GET", path + "?page=abc")).status == 422
    assert (await world.call("GET", path + "?page=99999999999999999999&per_page=5000")).body["devices"] == []
    assert (await world.call("GET", path + "?search=%00")).status == 422


async def test_what_is_sent_is_changed_and_nothing_else(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order(description="d", tags=["a"], customdata='{"k": 1}')).body
    path = f"/devices/{device['id']}"
    assert device["customdata"] == {"k": 1}
    changed = (await world.call("PATCH", path, {"hostname": "new", "locked": "true"})).body
    assert (changed["hostname"], changed["locked"], changed["description"]) == ("new", True, "d")
    assert (changed["tags"], changed["customdata"]) == (["a"], {"k": 1})
    cleared = (await world.call("PUT", path, {"description": None, "tags": [], "customdata": ""})).body
    assert (cleared["description"], cleared["tags"], cleared["customdata"]) == (None, [], {})
    by_query = (await world.call("PUT", path + "?hostname=queried", content=b"")).body
    assert by_query["hostname"] == "queried"
    assert (await world.call("PUT", path, {"hostname": "no good"})).status == 422
    refused = await world.call("DELETE", path)
    assert refused.status == 422 and "locked" in refused.body["errors"][0]
    await world.call("PATCH", path, {"locked": False})
    assert (await world.call("DELETE", path)).status == 204


async def test_a_deleted_device_is_gone_at_once_and_its_project_can_go(world: World) -> None:
    await world.add_machines(1)
    project = (await world.call("POST", "/projects", {"name": "short-lived"})).body["id"]
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
    device = (await world.call("POST", f"/projects/{project}/devices", wish)).body["id"]
    kept = await world.call("DELETE", f"/projects/{project}")
    assert kept.status == 422 and "has devices" in kept.body["errors"][0]
    gone = await world.call("DELETE", f"/devices/{device}", {"force_delete": True})
    assert (gone.status, gone.body) == (204, b"")
    for path in ("", "/events", "/ips", "/waterfall", "/wait"):
        assert (await world.call("GET", f"/devices/{device}{path}")).status == 404
    assert (await world.call("DELETE", f"/devices/{device}")).status == 404
    assert (await world.call("GET", f"/projects/{project}/devices")).body["devices"] == []
    assert (await world.call("DELETE", f"/projects/{project}")).status == 204
    assert (await world.call("GET", f"/projects/{project}")).status == 404


async def test_actions_are_checked_against_the_state(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    path = f"/devices/{device}/actions"
    unknown = await world.call("POST", path, {"type": "levitate"})
    assert unknown.status == 422 and "reboot" in unknown.body["errors"][0]
    early = await world.call("POST", path + "?type=reboot", content=b"")
    assert early.status == 422 and "queued" in early.body["errors"][0]
    await world.db.execute("UPDATE run SET state = 'done', finished_at = now() WHERE subject = $1", UUID(device))
    await world.db.execute("UPDATE device SET state = 'active' WHERE id = $1", UUID(device))
    done = await world.call("POST", path + "?type=reboot", content=b"")
    assert (done.status, done.body) == (202, b"")
    await world.db.execute("UPDATE run SET state = 'done', finished_at = now() WHERE subject = $1", UUID(device))
    for wish, said in (
        ({"operating_system": "plan9"}, "Operating system is not valid"),
        ({"operating_system": "custom_ipxe"}, "Ipxe script url can't be blank"),
        ({"preserve_data": True}, "Preserve data is not valid"),
    ):
        refused = await world.call("POST", path, {"type": "reinstall"} | wish)
        assert refused.status == 422 and refused.body["errors"][0].startswith(said)
    wish = {"type": "reinstall", "operating_system": "ubuntu_24_04", "userdata": "#cloud-config\n"}
    assert (await world.call("POST", path, wish)).status == 202
    shown = (await world.call("GET", f"/devices/{device}")).body
    # The old system is shown until it begins to go.
    assert (shown["state"], shown["operating_system"]["slug"], shown["userdata"]) == (
        "reinstalling",
        "debian_12",
        "#cloud-config\n",
    )
    wished = await world.db.fetchval("SELECT data->>'operating_system' FROM run WHERE finished_at IS NULL")
    assert wished == "ubuntu_24_04"


async def test_waiting_ends_when_the_state_comes(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    waiting = asyncio.create_task(world.call("GET", f"/devices/{device}/wait?state=active&timeout=60"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    async with world.db.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE device SET state = 'active' WHERE id = $1", UUID(device))
        await conn.execute("SELECT pg_notify('roundhouse', 'device:' || $1)", device)
    answer = await asyncio.wait_for(waiting, 50)
    assert (answer.status, answer.body["state"]) == (200, "active")
    late = await world.call("GET", f"/devices/{device}/wait?state=failed&timeout=0.1")
    assert (late.status, late.body["state"]) == (200, "active")
    assert (await world.call("GET", f"/devices/{device}/wait?state=happy")).status == 422


async def test_the_waterfall_has_every_stage_with_its_budget(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    fall = (await world.call("GET", f"/devices/{device}/waterfall")).body
    (run,) = fall["runs"]
    assert run["workflow"] == "provision"
    assert [stage["state"] for stage in run["stages"]][:2] == ["running", "pending"]
    assert {"place", "install", "await_phone_home"} <= {stage["step"] for stage in run["stages"]}
    assert all(stage["budget_s"] > 0 for stage in run["stages"])


async def test_a_withdrawn_system_is_still_shown_but_no_longer_sold(world: World) -> None:
    await world.add_machines(2)
    device = (await world.order()).body["id"]
    await world.db.execute("INSERT INTO operating_system (slug) VALUES ('minix_3_1')")
    await world.db.execute("UPDATE device SET operating_system = 'minix_3_1' WHERE id = $1", UUID(device))
    shown = (await world.call("GET", f"/projects/{world.project}/devices")).body["devices"][0]["operating_system"]
    assert (shown["slug"], shown["distro"], shown["version"], shown["provisionable_on"]) == (
        "minix_3_1",
        "minix",
        "3.1",
        [],
    )
    refused = await world.order(operating_system="minix_3_1")
    assert refused.status == 422 and refused.body["errors"][0].startswith("Operating system is not valid: 'minix_3_1'")
    listed = (await world.call("GET", "/operating-systems")).body["operating_systems"]
    assert "minix_3_1" not in {system["slug"] for system in listed}

"""The address manager over HTTP: tree, blocks by hand, ledger, tags, AS numbers; and what a customer sees of it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.service.api_world import World


async def make(world: World, prefix: str, role: str = "elastic", **fields: object) -> int:
    answer = await world.call("POST", "/ipam/v1/prefixes", {"prefix": prefix, "role": role} | fields)
    assert answer.status == 201, answer.body
    return int(answer.body["id"])


async def test_the_tree_grows_from_any_end(world: World) -> None:
    leaf = await make(world, "192.0.2.0/26", block_length=32, facility="ewr1", description="elastic, rack 4")
    root = await make(world, "192.0.2.0/24", "container")
    shown = (await world.call("GET", f"/ipam/v1/prefixes/{leaf}")).body
    assert (shown["parent"], shown["prefix"], shown["vrf"], shown["tenures"]) == (root, "192.0.2.0/26", "default", 0)
    listed = (await world.call("GET", "/ipam/v1/prefixes?inside=192.0.2.0/24")).body["prefixes"]
    assert [one["id"] for one in listed] == [root, leaf]
    again = await world.call("POST", "/ipam/v1/prefixes", {"prefix": "192.0.2.0/24", "role": "container"})
    assert (again.status, again.body["id"]) == (201, root)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"prefix": "192.0.2.1/24", "role": "elastic"}, "192.0.2.1/24 has host bits set; the prefix is 192.0.2.0/24"),
        ({"prefix": "ten", "role": "elastic"}, "'ten' is no prefix"),
        ({"prefix": "192.0.2.0/24", "role": "magic"}, "'magic' is no role; allowed are container, boot"),
        ({"prefix": "192.0.2.0/24", "role": "public", "block_length": 20}, "cannot be cut into blocks of /20"),
        ({"prefix": "203.0.113.128/25", "role": "public"}, "203.0.113.128/25 lies inside 203.0.113.0/24"),
        ({"prefix": "192.0.2.0/24", "role": "public", "organization": str(uuid4())}, "its owner does not exist"),
        ({"role": "public"}, "Prefix can't be blank"),
    ],
)
async def test_a_bad_prefix_is_refused_with_what_is_allowed(world: World, body: dict[str, object], told: str) -> None:
    before = (await world.call("GET", "/ipam/v1/prefixes")).body
    answer = await world.call("POST", "/ipam/v1/prefixes", body)
    assert answer.status == 422
    assert told in answer.body["errors"][0]
    assert (await world.call("GET", "/ipam/v1/prefixes")).body == before


async def test_blocks_by_hand_are_idempotent_and_end_by_hand(world: World) -> None:
    prefix, owner = await make(world, "192.0.2.0/28", block_length=32), str(uuid4())
    wish = {"owner": owner, "slot": "vpn", "length": 30, "note": {"hostname": "vpn1"}}
    answers = await asyncio.gather(*(world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", wish) for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    assert {answer.body["block"] for answer in answers} == {"192.0.2.0/30"}
    named = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {"owner": owner, "block": "192.0.2.8/29"})
    assert named.body["block"] == "192.0.2.8/29"
    taken = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {"owner": owner, "block": "192.0.2.2/32"})
    assert taken.status == 422
    assert f"192.0.2.2/32 of 192.0.2.0/28 is not free: 192.0.2.0/30 by {owner}" in taken.body["errors"][0]
    full = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {"owner": owner, "length": 29})
    assert "192.0.2.0/28 has no free /29: a /30 at most is free" in full.body["errors"][0]
    lives = (await world.call("GET", f"/ipam/v1/prefixes/{prefix}/tenures")).body
    assert [one["block"] for one in lives["tenures"]] == ["192.0.2.0/30", "192.0.2.8/29"]
    assert (await world.call("DELETE", f"/ipam/v1/tenures/{answers[0].body['id']}")).status == 204
    assert (await world.call("DELETE", f"/ipam/v1/tenures/{answers[0].body['id']}")).status == 404


async def test_a_frozen_container_hands_out_nothing_below_it(world: World) -> None:
    root = await make(world, "192.0.2.0/24", "container")
    prefix = await make(world, "192.0.2.0/28", block_length=32)
    for status in ("frozen", "draining"):
        changed = await world.call("PATCH", f"/ipam/v1/prefixes/{root}", {"status": status})
        assert changed.body["standing"] == status
        refused = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {"length": 32})
        assert refused.status == 422
        assert f"192.0.2.0/28 is {status}" in refused.body["errors"][0]
    await world.call("PATCH", f"/ipam/v1/prefixes/{root}", {"status": "active"})
    held = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {"length": 32})
    assert held.status == 201
    refused = await world.call("PATCH", f"/ipam/v1/prefixes/{prefix}", {"status": "retired"})
    assert "cannot be retired: 0 prefixes and 1 tenures live in it" in refused.body["errors"][0]
    await world.call("DELETE", f"/ipam/v1/tenures/{held.body['id']}")
    assert (await world.call("PATCH", f"/ipam/v1/prefixes/{prefix}", {"status": "retired"})).status == 200
    assert await make(world, "192.0.2.0/27", block_length=32) != prefix


async def test_reserved_ranges_are_never_handed_out(world: World) -> None:
    prefix = await make(world, "192.0.2.0/29", block_length=32)
    path = f"/ipam/v1/prefixes/{prefix}/reserved"
    made = await world.call("POST", path, {"first": "192.0.2.1", "last": "192.0.2.6", "reason": "old firewalls"})
    assert made.body["blocks"] == ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]
    (listed,) = (await world.call("GET", path)).body["reserved"]
    assert (listed["first"], listed["last"], listed["reason"]) == ("192.0.2.1", "192.0.2.6", "old firewalls")
    got = [(await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})).body["block"] for _ in range(2)]
    assert got == ["192.0.2.0/32", "192.0.2.7/32"]
    assert (await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})).status == 422
    wrong = await world.call("POST", path, {"first": "192.0.2.6", "last": "192.0.2.1", "reason": "x"})
    assert "192.0.2.6 to 192.0.2.1 is no range of addresses" in wrong.body["errors"][0]
    assert (await world.call("DELETE", f"{path}/{made.body['id']}")).status == 204
    assert (await world.call("GET", path)).body == {"reserved": []}


async def test_the_ledger_answers_who_and_is_corrected_as_such(world: World) -> None:
    prefix = await make(world, "192.0.2.0/29", block_length=32)
    note = {"machine": "m7", "leaf": "leaf1", "port": "xe-0/0/7", "mac": "02:00:00:00:00:07", "hostname": "web7"}
    wish = {"project": str(world.project), "slot": "a", "length": 31, "note": note}
    made = (await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", wish)).body
    for path in ("/admin/v1/ips/192.0.2.1", "/ipam/v1/ips/192.0.2.1"):
        (now,) = (await world.call("GET", path)).body["tenures"]
        assert now["project"] == {"id": str(world.project), "name": "default"}
        assert (now["machine"], now["leaf"], now["port"], now["mac"]) == tuple(note[key] for key in list(note)[:4])
        assert (now["from"], now["until"]) == (made["from"], None)
        assert now["opened_by"] == f"user:{world.user} (staff@roundhouse.example)"
    before = (await world.call("GET", "/admin/v1/ips/192.0.2.1?at=2020-01-01T00:00Z")).body
    assert before["tenures"] == []
    fix = {"why": "the cable list was wrong", "note": {"machine": "m8"}, "since": "2026-01-01T00:00Z"}
    right = (await world.call("POST", f"/ipam/v1/tenures/{made['id']}/correct", fix)).body
    assert (right["id"], right["machine"], right["port"]) == (made["id"], "m8", "xe-0/0/7")
    (then,) = (await world.call("GET", "/admin/v1/ips/192.0.2.0?at=2026-02-01")).body["tenures"]
    assert then["machine"] == "m8"
    known = (await world.call("GET", f"/admin/v1/ips/192.0.2.0?at={made['from']}&as_of={made['from']}")).body
    assert known["tenures"] == []  # it was written down a moment after it began
    old, new = sorted(
        (await world.call("GET", "/ipam/v1/ips/192.0.2.0/history")).body["history"],
        key=lambda e: e["correction"] is None,
    )
    assert (old["machine"], old["correction"]) == ("m7", "the cable list was wrong")
    assert (new["machine"], new["corrected_at"]) == ("m8", None)
    as_of = (await world.call("GET", f"/ipam/v1/ips/192.0.2.0?as_of={old['recorded_at']}")).body
    assert [one["machine"] for one in as_of["tenures"]] == ["m7"]
    for wrong, told in (
        ({"why": ""}, "Why can't be blank"),
        ({"why": "x", "until": "2026-03-01"}, "is still held; give it back"),
        ({"why": "x", "since": "yesterday"}, "Since is not valid: 'yesterday'; a time is written"),
    ):
        answer = await world.call("POST", f"/ipam/v1/tenures/{made['id']}/correct", wrong)
        assert told in answer.body["errors"][0]


async def test_tagged_blocks_are_held_back_until_cleared(world: World) -> None:
    prefix = await make(world, "192.0.2.0/30", block_length=32)
    tagged = await world.call(
        "POST", "/ipam/v1/abuse-tags", {"block": "192.0.2.0/31", "tag": "spam", "reason": "ticket 77"}
    )
    assert tagged.status == 201
    got = [(await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})).body["block"] for _ in range(2)]
    assert got == ["192.0.2.2/32", "192.0.2.3/32"]
    full = await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})
    assert "1 are tagged for abuse" in full.body["errors"][0]
    (shown,) = (await world.call("GET", "/admin/v1/ips/192.0.2.1")).body["abuse_tags"]
    assert (shown["tag"], shown["reason"]) == ("spam", "ticket 77")
    assert (await world.call("DELETE", f"/ipam/v1/abuse-tags/{tagged.body['id']}")).status == 204
    assert (await world.call("POST", f"/ipam/v1/prefixes/{prefix}/tenures", {})).body["block"] == "192.0.2.0/32"
    assert len((await world.call("GET", "/ipam/v1/abuse-tags?history=true")).body["abuse_tags"]) == 1


async def test_a_project_s_as_numbers_go_back_with_it(world: World) -> None:
    pool = {"name": "customers", "first": 64512, "last": 64513}
    assert (await world.call("POST", "/ipam/v1/asn-pools", pool)).status == 201
    project = (await world.call("POST", "/projects", {"name": "short-lived"})).body["id"]
    for slot, owner in (("bgp", project), ("spare", project)):
        taken = await world.call("POST", "/ipam/v1/asn-pools/customers/asns", {"owner": owner, "slot": slot})
        assert taken.status == 201
    assert (await world.call("DELETE", f"/projects/{project}")).status == 204
    assert (await world.call("GET", "/ipam/v1/asns?pool=customers")).body["asns"] == []


async def test_as_numbers(world: World) -> None:
    pool = {"name": "leaves", "first": 4200000000, "last": 4200000001}
    assert (await world.call("POST", "/ipam/v1/asn-pools", pool)).status == 201
    owners = [str(uuid4()) for _ in range(3)]
    path = "/ipam/v1/asn-pools/leaves/asns"
    first = await world.call("POST", path, {"owner": owners[0], "slot": "leaf1"})
    again = await world.call("POST", path, {"owner": owners[0], "slot": "leaf1"})
    second = await world.call("POST", path, {"owner": owners[1], "slot": "leaf2"})
    assert [one.body["asn"] for one in (first, again, second)] == [4200000000, 4200000000, 4200000001]
    full = await world.call("POST", path, {"owner": owners[2], "slot": "leaf3"})
    assert "leaves (4200000000 to 4200000001) has no free number for leaf3" in full.body["errors"][0]
    assert (await world.call("DELETE", "/ipam/v1/asns/4200000000")).status == 204
    assert [one["asn"] for one in (await world.call("GET", "/ipam/v1/asns?pool=leaves")).body["asns"]] == [4200000001]
    then = (await world.call("GET", f"/ipam/v1/asns?asn=4200000000&at={first.body['from']}")).body["asns"]
    assert [one["owner"] for one in then] == [owners[0]]
    overlapping = await world.call("POST", "/ipam/v1/asn-pools", {"name": "other", "first": 1, "last": 4200000000})
    assert "overlaps a pool that exists" in overlapping.body["errors"][0]


async def test_a_customer_sees_and_takes_from_his_own_space_only(world: World) -> None:
    await world.other_tenant()
    theirs = await world.db.fetchval("SELECT organization_id FROM user_account WHERE email = 'other-token@example.org'")
    project = await world.db.fetchval("SELECT id FROM project WHERE organization_id = $1", theirs)
    await make(world, "198.18.0.0/15", "container")
    own = await make(world, "198.18.0.0/24", "container", organization=str(theirs))
    foreign = await make(world, "198.19.0.0/28", block_length=32)
    their = "other-token"
    (listed,) = (await world.call("GET", "/ipam/v1/prefixes", token=their)).body["prefixes"]
    assert (listed["id"], listed["parent"]) == (own, None)
    for path in (f"/ipam/v1/prefixes/{foreign}", f"/ipam/v1/prefixes/{foreign}/tenures", "/admin/v1/prefixes"):
        assert (await world.call("GET", path, token=their)).status in (403, 404)
    assert (
        await world.call("POST", f"/ipam/v1/prefixes/{foreign}/tenures", {"project": str(project)}, token=their)
    ).status == 404
    below = await world.call(
        "POST", "/ipam/v1/prefixes", {"prefix": "198.18.0.0/28", "role": "elastic", "block_length": 32}, token=their
    )
    assert below.status == 201
    beside = await world.call("POST", "/ipam/v1/prefixes", {"prefix": "198.19.1.0/24", "role": "elastic"}, token=their)
    assert beside.status == 404
    taken = await world.call(
        "POST", f"/ipam/v1/prefixes/{below.body['id']}/tenures", {"project": str(project)}, token=their
    )
    assert taken.body["block"] == "198.18.0.0/32"
    assert (await world.call("GET", "/ipam/v1/ips/198.18.0.0", token=their)).body["tenures"][0]["project"][
        "name"
    ] == "theirs"
    mine = await world.call("POST", f"/ipam/v1/prefixes/{foreign}/tenures", {"project": str(world.project)})
    address = mine.body["block"].removesuffix("/32")
    for path in (f"/ipam/v1/ips/{address}", f"/ipam/v1/ips/{address}/history", f"/admin/v1/ips/{address}"):
        assert (await world.call("GET", path, token=their)).status in (403, 404)
    for path in ("/ipam/v1/abuse-tags", "/ipam/v1/asns", "/ipam/v1/asn-pools", "/ipam/v1/vrfs"):
        assert (await world.call("GET", path, token=their)).status == 403

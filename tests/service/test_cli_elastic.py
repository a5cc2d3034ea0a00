"""`roundhouse ip` and `roundhouse bgp` against the real API."""

from __future__ import annotations

import json
from pathlib import Path

from ipam.prefixes import add_prefix, add_vrf
from tests.service.api_world import World
from tests.service.elastic_world import placed
from tests.service.shell import Shell


async def test_an_elastic_block_from_reserve_to_release(world: World, shell: Shell) -> None:
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "192.0.2.0/24", "elastic", block_length=32, facility="ewr1")
    for name in ("web1", "web2"):
        device_id = await placed(world)
        await world.db.execute("UPDATE device SET hostname = $2 WHERE id = $1", device_id, name)
    status, out, err = await shell("ip", "reserve", "--quantity", "4", "--facility", "ewr1", "--tag", "a", "--json")
    assert (status, err) == (0, "")
    block = json.loads(out)
    assert (block["network"], block["cidr"], block["tags"]) == ("192.0.2.0", 30, ["a"])
    status, out, _ = await shell("ip", "assign", "192.0.2.1", "web1")
    assert (status, out) == (0, "192.0.2.1/32 leads to device web1\n")
    status, out, _ = await shell("ip", "list")
    title, row = out.splitlines()
    assert title.split()[:3] == ["ID", "BLOCK", "TYPE"] and row.split()[1:5] == [
        "192.0.2.0/30",
        "public_ipv4",
        "ewr1",
        "web1",
    ]
    status, out, _ = await shell("ip", "move", "192.0.2.1", "web2")
    assert status == 0 and "leads to device web2" in out
    for named in (block["id"], "192.0.2.0/30"):
        status, out, _ = await shell("ip", "show", named)
        assert status == 0 and "web2" in out
    status, out, err = await shell("ip", "release", "192.0.2.0/30", "--yes")
    assert status == 1 and "is assigned to" in err
    status, out, _ = await shell("ip", "split", "192.0.2.0/30", "31", "--json")
    assert [one["network"] for one in json.loads(out)] == ["192.0.2.0", "192.0.2.2"]
    status, out, err = await shell("ip", "merge", "192.0.2.0/31", "192.0.2.2/31")
    assert (status, err) == (0, "") and "192.0.2.0/30" in out
    status, out, _ = await shell("ip", "unassign", "192.0.2.1")
    assert (status, out) == (0, "192.0.2.1 leads to no device\n")
    assert (await shell("ip", "release", "192.0.2.0/30"))[0] == 2
    assert (await shell("ip", "release", "192.0.2.0/30", "--yes"))[:2] == (0, "192.0.2.0/30 is released\n")
    for words, said in (
        (("ip", "show", "192.0.2.0/30"), "0 reservations of the project are 192.0.2.0/30"),
        (("ip", "unassign", "192.0.2.1"), "0 assignments of the project are 192.0.2.1/32"),
        (("ip", "show", "web"), "'web' is neither an id nor a block"),
        (("ip", "reserve", "--cidr", "23", "--facility", "ewr1"), "allowed are 24 to 32"),
    ):
        status, out, err = await shell(*words)
        assert (status, out) == (1, "") and said in err


async def test_bgp_from_configuration_to_the_end_of_a_session(world: World, shell: Shell, tmp_path: Path) -> None:
    await placed(world)
    password = tmp_path / "password"
    password.write_text("Secret0123456\n")
    status, _, err = await shell("bgp", "config")
    assert status == 1 and "Not found" in err
    status, out, err = await shell("bgp", "config", "--type", "global", "--asn", "64496", "--md5-file", str(password))
    assert (status, err) == (0, "") and "requested" in out and "Secret" not in out
    status, _, err = await shell("bgp", "add", "web1")
    assert status == 1 and "awaits approval" in err
    status, out, _ = await shell("bgp", "config", "--approve")
    assert status == 0 and "enabled" in out
    status, out, _ = await shell("bgp", "add", "web1", "--family", "ipv6", "--default-route", "--json")
    made = json.loads(out)
    assert (status, made["address_family"], made["default_route"]) == (0, "ipv6", True)
    for words in (("bgp", "sessions"), ("bgp", "sessions", "web1")):
        status, out, _ = await shell(*words)
        assert status == 0 and out.splitlines()[1].split()[:3] == [made["id"], "web1", "ipv6"]
    assert (await shell("bgp", "remove", made["id"]))[0] == 0
    assert (await shell("bgp", "sessions", "--json"))[1] == "[]\n"

"""The address manager on the command line, against the real API."""

from __future__ import annotations

import json

import pytest

from tests.service.api_world import World
from tests.service.shell import Shell


async def test_a_prefix_from_its_birth_to_its_end(world: World, shell: Shell) -> None:
    add = ("prefix", "add", "192.0.2.0/28", "--role", "elastic", "--block-length", "32", "--facility", "ewr1")
    assert (await shell(*add))[0] == 0
    assert (await shell("prefix", "add", "192.0.2.0/24", "--role", "container"))[0] == 0
    status, out, _ = await shell("prefix", "list", "--inside", "192.0.2.0/24")
    lines = out.splitlines()
    assert status == 0 and "192.0.2.0/24" in lines[1] and "  192.0.2.0/28" in lines[2]
    taken = ("prefix", "take", "192.0.2.0/28", "--length", "30", "--owner", str(world.project), "--slot", "a")
    _, out, _ = await shell(*taken, "--note", "machine=m1", "--json")
    tenure = json.loads(out)
    assert (tenure["block"], tenure["machine"]) == ("192.0.2.0/30", "m1")
    assert json.loads((await shell(*taken, "--json"))[1])["id"] == tenure["id"]
    assert "192.0.2.0/30" in (await shell("prefix", "tenures", "192.0.2.0/24"))[1]
    assert (await shell("prefix", "reserve", "192.0.2.0/28", "192.0.2.8", "192.0.2.15", "--reason", "lab"))[0] == 0
    (reserved,) = json.loads((await shell("prefix", "reserved", "192.0.2.0/28", "--json"))[1])
    status, out, err = await shell("prefix", "take", "192.0.2.0/28", "--length", "29", "--owner", str(world.project))
    assert (status, out) == (1, "")
    assert "192.0.2.0/28 has no free /29: a /30 at most is free" in err and err.count("\n") == 1
    assert (await shell("prefix", "unreserve", "192.0.2.0/28", reserved["id"]))[0] == 0
    assert (await shell("prefix", "set", "192.0.2.0/24", "--status", "frozen"))[0] == 0
    assert "frozen" in (await shell("prefix", "show", "192.0.2.0/28"))[1]
    assert "192.0.2.0/28 is frozen" in (await shell("prefix", "take", "192.0.2.0/28"))[2]
    assert (await shell("prefix", "give-back", tenure["id"]))[0] == 2
    assert (await shell("prefix", "give-back", tenure["id"], "--yes"))[0] == 0


async def test_who_had_an_address(world: World, shell: Shell) -> None:
    await shell("prefix", "add", "192.0.2.0/28", "--role", "elastic", "--block-length", "32")
    take = ("prefix", "take", "192.0.2.0/28", "--project", str(world.project), "--note", "mac=02:00:00:00:00:01")
    tenure = json.loads((await shell(*take, "--json"))[1])
    status, out, _ = await shell("ip", "who", "192.0.2.0")
    assert status == 0
    assert "mac        02:00:00:00:00:01" in out and "project    default" in out and "staff@roundhouse.example" in out
    assert (
        "nobody had 192.0.2.0 at 2026-01-01" in (await shell("ip", "who", "192.0.2.0", "--at", "2026-01-01T12:00Z"))[1]
    )
    fix = (
        "ip",
        "correct",
        tenure["id"],
        "--why",
        "wrong cable",
        "--note",
        "machine=m9",
        "--since",
        "2025-12-31T00:00Z",
    )
    assert (await shell(*fix))[0] == 0
    assert "m9" in (await shell("ip", "who", "192.0.2.0", "--at", "2026-01-01T12:00Z"))[1]
    history = (await shell("ip", "history", "192.0.2.0"))[1]
    assert history.count("192.0.2.0/32") == 2 and "wrong cable" in history
    assert (await shell("ip", "tag", "192.0.2.0/32", "spam", "--reason", "ticket 7"))[0] == 0
    assert "tagged spam" in (await shell("ip", "who", "192.0.2.0"))[1]
    (tag,) = json.loads((await shell("ip", "tags", "--json"))[1])
    assert (await shell("ip", "untag", tag["id"]))[0] == 0


async def test_as_numbers(world: World, shell: Shell) -> None:
    assert (await shell("asn", "add-pool", "leaves", "65000", "65001"))[0] == 0
    assert "65000" in (await shell("asn", "take", "leaves", "--owner", str(world.project), "--slot", "leaf1"))[1]
    assert "1" in (await shell("asn", "pools"))[1].splitlines()[1].split()
    assert (await shell("asn", "give-back", "65000", "--yes"))[0] == 0
    assert (await shell("asn", "list"))[1].count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("prefix", "show", "10.99.0.0/16"), "there is no prefix 10.99.0.0/16"),
        (("prefix", "show", "ten"), "'ten' is neither a prefix's id nor a prefix"),
        (("ip", "who", "203.0.113.7", "--at", "yesterday"), "At is not valid: 'yesterday'"),
        (("ip", "who", "not-an-address"), "Not found"),
        (("ip", "tag", "198.18.0.0/24", "spam"), "198.18.0.0/24 lies in no prefix that hands out"),
        (("ip", "tag", "203.0.113.0/31", "Spam!"), "'Spam!' is no tag"),
        (("asn", "take", "none", "--owner", "00000000-0000-4000-8000-000000000000", "--slot", "x"), "no pool 'none'"),
        (("asn", "add-pool", "p", "5", "4"), "5 to 4 is no range of AS numbers; allowed are 1 to 4294967294"),
    ],
)
async def test_what_is_refused_is_one_line_and_exit_code_1(
    world: World, shell: Shell, words: tuple[str, ...], told: str
) -> None:
    status, out, err = await shell(*words)
    assert (status, out) == (1, "")
    assert told in err and err.count("\n") == 1

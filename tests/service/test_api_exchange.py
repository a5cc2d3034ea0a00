"""Import and export over the wire and on the command line."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
import structlog

from service.cli.main import main
from tests.service.api_world import TOKEN, World

FILE = b"kind,cidr,role\nprefix,192.0.2.0/24,infrastructure\naddress,192.0.2.7,\n"
NETBOX = {"prefixes": [{"id": 1, "prefix": "192.0.2.0/24", "status": {"value": "active"}, "vlan": {"name": "v1"}}]}


async def rows(world: World) -> list[str]:
    answer = await world.call("GET", "/ipam/v1/export")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return bytes(answer.body).decode().splitlines()


async def test_a_file_is_shown_then_applied_then_the_same(world: World) -> None:
    before = await rows(world)
    shown = await world.call("POST", "/ipam/v1/import?format=csv", content=FILE)
    assert shown.status == 200 and shown.body["applied"] is False
    assert shown.body["counts"] == {"add": 2, "change": 0, "same": 1, "conflict": 0}
    prefix, address = shown.body["changes"]
    assert (prefix["action"], prefix["name"], prefix["where"]) == ("add", "192.0.2.0/24 in VRF default", "line 2")
    assert (prefix["row"]["role"], prefix["row"]["block_length"]) == ("infrastructure", 32)
    assert (address["row"]["block"], address["row"]["slot"]) == ("192.0.2.7/32", "imported")
    assert await rows(world) == before
    applied = await world.call("POST", "/ipam/v1/import?format=csv&apply=true", content=FILE)
    assert applied.body == shown.body | {"applied": True}
    assert len(await rows(world)) == len(before) + 2
    again = await world.call("POST", "/ipam/v1/import?apply=true", content=FILE)
    assert again.body["counts"] == {"add": 0, "change": 0, "same": 3, "conflict": 0} and again.body["changes"] == []
    changed = await world.call(
        "POST", "/ipam/v1/import", content=b"kind,cidr,role,description\nprefix,192.0.2.0/24,infrastructure,new\n"
    )
    (change,) = changed.body["changes"]
    assert (change["before"], change["after"]) == ({"description": ""}, {"description": "new"})


async def test_netboxs_json_goes_in_and_out(world: World) -> None:
    answer = await world.call("POST", "/ipam/v1/import?format=netbox&apply=true", NETBOX)
    assert answer.status == 200
    assert answer.body["left_out"] == [
        {
            "section": "prefixes",
            "field": "vlan",
            "why": "VLANs are not kept here",
            "count": 1,
            "examples": [{"where": "prefixes 1 (id 1)", "value": "v1"}],
        }
    ]
    exported = await world.call("GET", "/ipam/v1/export?format=netbox")
    assert exported.status == 200
    cidrs = [one["prefix"] for one in exported.body["prefixes"]["results"]]
    assert "192.0.2.0/24" in cidrs and exported.body["prefixes"]["count"] == len(cidrs)
    again = await world.call("POST", "/ipam/v1/import?format=netbox", exported.body)
    assert again.body["changes"] == again.body["left_out"] == []


async def test_conflicts_are_shown_and_keep_the_file_from_being_applied(world: World) -> None:
    content = FILE + b"address,172.16.0.1,\n"
    shown = await world.call("POST", "/ipam/v1/import", content=content)
    assert shown.body["counts"]["conflict"] == 1 and shown.body["changes"][-1]["reason"] == "no prefix holds it"
    before = await rows(world)
    refused = await world.call("POST", "/ipam/v1/import?apply=true", content=content)
    assert (refused.status, refused.body["errors"]) == (
        422,
        [
            "Import is not valid: of 4 rows, 1 in conflict; nothing was changed",
            "line 4: address 172.16.0.1/32 in VRF default: no prefix holds it",
        ],
    )
    assert await rows(world) == before


async def test_what_is_wrong_is_named(world: World) -> None:
    for path, content, status, said in (
        ("import?format=xls", FILE, 422, "Format is not valid: 'xls'; allowed are csv, netbox"),
        ("import?apply=maybe", FILE, 422, "apply is not valid: 'maybe' is neither true nor false"),
        ("import", b"kind\nx\n", 422, "line 2: kind: 'x' is no kind; allowed are vrf, prefix, address, asn-pool, asn"),
        ("import?format=netbox", b"{", 422, "the file is no JSON"),
        ("import", b"x" * ((64 << 20) + 1), 413, "The body is too large: allowed are 64 MiB"),
        ("import", b"kind,vrf\n" + b"vrf,a\n" * 100_001, 422, "Import is not valid: 100001 rows are too many; allowed"),
    ):
        answer = await world.call("POST", f"/ipam/v1/{path}", content=content)
        assert answer.status == status and answer.body["errors"][0].startswith(said)
    assert (await world.call("GET", "/ipam/v1/export?format=xls")).status == 422


async def test_it_is_for_staff_and_applying_is_writing(world: World) -> None:
    tenant = await world.tenant_token()
    await world.add_token("reader", user_id=world.user, read_only=True)
    assert (await world.call("POST", "/ipam/v1/import", content=FILE, token=tenant)).status == 403
    assert (await world.call("GET", "/ipam/v1/export", token=tenant)).status == 403
    assert (await world.call("GET", "/ipam/v1/export", token=None)).status == 401
    assert (await world.call("POST", "/ipam/v1/import", content=FILE, token="reader")).status == 200
    assert (await world.call("POST", "/ipam/v1/import?apply=true", content=FILE, token="reader")).status == 403


async def test_a_file_larger_than_other_requests_is_taken(world: World) -> None:
    addresses = random.Random(1).sample(range(1 << 16), 2000)
    note = '"{""hostname"": ""%s""}"' % ("x" * 3000)
    lines = ["kind,cidr,role,note", "prefix,172.16.0.0/16,infrastructure,"]
    lines += [f"address,172.16.{number >> 8}.{number & 255},,{note}" for number in addresses]
    content = "\n".join(lines).encode()
    assert len(content) > 5 << 20
    answer = await world.call("POST", "/ipam/v1/import?apply=true", content=content)
    assert answer.status == 200 and answer.body["counts"]["add"] == 2001


async def test_the_command_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    file = tmp_path / "addresses.csv"
    file.write_bytes(FILE + b"address,172.16.0.1,\n")

    async def run(*words: str) -> tuple[int, str, str]:
        with structlog.testing.capture_logs():  # the API's log is not the command's output
            status = await asyncio.to_thread(main, ["prefix", *words])
        said = capsysbinary.readouterr()
        return status, said.out.decode(), said.err.decode()

    status, out, _ = await run("import", str(file))
    assert status == 1 and "conflict  address  172.16.0.1/32 in VRF default" in out and "1 in conflict" in out
    file.write_bytes(FILE)
    status, out, err = await run("import", str(file))
    assert status == 0 and "nothing is changed yet: say --apply" in err
    assert out.splitlines()[-1] == "2 to add, 0 to change, 1 the same, 0 in conflict"
    status, out, _ = await run("import", str(file), "--apply")
    assert status == 0 and out.splitlines()[-1] == "applied: 2 to add, 0 to change, 1 the same"
    status, out, _ = await run("export")
    assert status == 0 and "address,default,192.0.2.7/32,,,,,," in out
    file.write_text(out)
    status, out, _ = await run("import", str(file), "--json")
    assert status == 0 and json.loads(out)["counts"]["add"] == 0
    file.write_text(json.dumps(NETBOX))
    status, out, _ = await run("import", str(file), "--format", "netbox")
    assert status == 0 and "prefixes.vlan" in out

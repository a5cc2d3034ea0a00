"""Reverse DNS against BIND: signed updates, a wrong key, a server that goes and comes back; and names over the API."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
import structlog
from aiohttp.test_utils import TestServer

from ipam import elastic
from ipam.ledger import give_back, take
from ipam.prefixes import prefixes_for
from service.addresses.dns_updates import Unreachable, dns_server, run_reverse_dns
from service.api.app import make_api
from service.cli.client import Client
from service.cli.output import Output
from service.cli.reverse_dns import COMMANDS
from service.settings import BadSetting, Settings
from service.store.notify import Hub
from service.store.rows import Pool
from tests.service.api_world import TOKEN, World
from tests.service.dns_scene import (
    BY,
    NOW,
    TEMPLATE,
    FastClock,
    add_device,
    add_elastic,
    faults,
    parts_for,
    reverse_dns,
    running,
    settings_for,
    until,
)
from tests.service.named import KEY_SECRET, Named, program
from tests.service.parts import make_parts

# The world's public prefix is 203.0.113.0/24; a classless one lies in a zone that somebody else has.
ZONES = {
    "113.0.203.in-addr.arpa": "",
    "64-26.100.51.198.in-addr.arpa": "",
    "100.51.198.in-addr.arpa": "$GENERATE 64-127 $ CNAME $.64-26.100.51.198.in-addr.arpa.",
    "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "",
}


@pytest.fixture
async def named(tmp_path: Path) -> AsyncIterator[Named]:
    folder = tmp_path / "named"
    folder.mkdir()
    server = Named(folder, ZONES)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_names_come_change_and_go_on_a_real_server(world: World, named: Named, tmp_path: Path) -> None:
    device, (public, _, ipv6) = await add_device(world, "web1", "public", "private", "ipv6")
    held = await add_elastic(world, "198.51.100.64/26", 29)
    first, third = held.block[0], held.block[3]
    for address, name in ((first, "Mail.Example.ORG."), (third, "vpn.example.org")):
        answer = await world.call("PUT", f"/ipam/v1/ips/{address}/ptr", {"name": name})
        assert answer.status == 200 and answer.body["zone"] == "64-26.100.51.198.in-addr.arpa"
        assert answer.body["own"] and answer.body["confirmed"] is None
    work = reverse_dns(world.db, parts_for(settings_for(world, named), tmp_path))
    await work.look()
    addresses = [str(public.leaf.ip), str(public.host.ip), str(ipv6.host.ip), str(first), str(third)]
    assert await named.names(addresses) == {
        str(public.host.ip): "web1.ewr1.example.net",
        str(ipv6.host.ip): "web1.ewr1.example.net",
        str(first): "mail.example.org",  # by way of the CNAME of RFC 2317
        str(third): "vpn.example.org",
    }
    shown = (await world.call("GET", f"/ipam/v1/ips/{first}/ptr")).body
    assert (shown["confirmed"], shown["set_by"]) == ("mail.example.org", f"user:{world.user}")
    # A customer's own name goes before the one by the template; a new host name, and a deleted one, are seen, too.
    await world.call("PUT", f"/ipam/v1/ips/{ipv6.host.ip}/ptr", {"name": "six.example.org"})
    assert (await world.call("DELETE", f"/ipam/v1/ips/{third}/ptr")).status == 204
    await world.db.execute("UPDATE device SET hostname = 'web2' WHERE id = $1", device)
    await work.look()
    assert await named.names(addresses) == {
        str(public.host.ip): "web2.ewr1.example.net",
        str(ipv6.host.ip): "six.example.org",
        str(first): "mail.example.org",
    }
    # What is given back has no name any more, whoever named it.
    async with world.db.acquire() as conn, conn.transaction():
        await give_back(conn, device, now=datetime.now(UTC), by=BY)
        await elastic.release(conn, held.id, now=datetime.now(UTC), by=BY)
    await work.look()
    assert await named.names(addresses) == {}
    counts = await world.db.fetchrow("SELECT (SELECT count(*) FROM ptr) AS own, count(*) AS pushed FROM ptr_pushed")
    assert (counts["own"], counts["pushed"]) == (0, 0)


async def test_zones_that_the_server_does_not_have_do_not_hold_up_the_others(
    world: World, named: Named, tmp_path: Path
) -> None:
    _, (public, private) = await add_device(world, "web1", "public", "private")
    parts = parts_for(settings_for(world, named), tmp_path)
    await reverse_dns(world.db, parts).look()
    assert await named.names([str(public.host.ip)]) == {str(public.host.ip): "web1.ewr1.example.net"}
    told = await faults(world.db)
    assert told["113.0.203.in-addr.arpa"] is None
    assert told["0.10.in-addr.arpa"] == f"127.0.0.1 port {named.port} answered NOTAUTH"
    listed = {zone["zone"]: zone for zone in (await world.call("GET", "/ipam/v1/dns/zones")).body["zones"]}
    assert (listed["113.0.203.in-addr.arpa"]["names"], listed["113.0.203.in-addr.arpa"]["fault"]) == (1, None)
    assert listed["0.10.in-addr.arpa"]["fault"] == told["0.10.in-addr.arpa"]
    # Without the address there is nothing left to be refused.
    async with world.db.acquire() as conn, conn.transaction():
        await give_back(conn, private.owner, now=datetime.now(UTC), by=BY)
    await reverse_dns(world.db, parts).look()
    assert set((await faults(world.db)).values()) == {None}


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"dns_key_secret": "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmch"}, "signature"),
        ({"dns_key_name": "other"}, "key"),
        ({"dns_key_name": ""}, "REFUSED"),
    ],
)
async def test_a_wrong_key_is_refused_and_told_and_the_right_one_heals(
    world: World, named: Named, tmp_path: Path, wrong: dict[str, str], fault: str
) -> None:
    _, (public,) = await add_device(world, "web1", "public")
    await reverse_dns(world.db, parts_for(settings_for(world, named, **wrong), tmp_path)).look()
    told = (await faults(world.db))["113.0.203.in-addr.arpa"]
    assert told is not None and fault in told
    assert await named.names([str(public.host.ip)]) == {} and not await world.db.fetchval("TABLE ptr_pushed")
    await reverse_dns(world.db, parts_for(settings_for(world, named), tmp_path)).look()
    assert await named.names([str(public.host.ip)]) == {str(public.host.ip): "web1.ewr1.example.net"}
    assert (await faults(world.db))["113.0.203.in-addr.arpa"] is None


async def test_a_server_that_is_away_gets_everything_when_it_is_back(
    world: World, named: Named, tmp_path: Path
) -> None:
    device, (public,) = await add_device(world, "web1", "public")
    address = str(public.host.ip)
    parts = parts_for(settings_for(world, named), tmp_path)
    async with running(world.db, parts):
        await until(lambda: _is(named, address, "web1.ewr1.example.net"))
        await named.stop()
        await world.db.execute("UPDATE device SET hostname = 'web2' WHERE id = $1", device)
        await until(lambda: _told(world.db, "does not answer"))
        assert await world.db.fetchval("SELECT name FROM ptr_pushed") == "web1.ewr1.example.net"
        # Nothing else waits for it, and nothing is lost of what happens meanwhile.
        answer = await world.call("PUT", f"/ipam/v1/ips/{address}/ptr", {"name": "www.example.org"})
        assert answer.status == 200
        await named.start()
        await until(lambda: _is(named, address, "www.example.org"))
        await until(lambda: _told(world.db, None))


async def _is(named: Named, address: str, name: str) -> bool:
    return await named.names([address]) == {address: name}


async def _told(db: Pool, fault: str | None) -> bool:
    told = (await faults(db)).get("113.0.203.in-addr.arpa")
    return told is None if fault is None else fault in (told or "")


async def test_an_unreachable_server_is_an_error_that_names_it(world: World, tmp_path: Path, named: Named) -> None:
    await add_device(world, "web1", "public")
    await named.stop()
    work = reverse_dns(world.db, parts_for(settings_for(world, named), tmp_path))
    with pytest.raises(Unreachable, match=f"127.0.0.1 port {named.port} does not answer"):
        await work.look()
    # The lock is free again.
    assert await world.db.fetchval("SELECT pg_try_advisory_lock(hashtext('reverse dns'))")


async def test_two_processes_and_a_large_zone(world: World, named: Named, tmp_path: Path) -> None:
    """More names than one message has room for, looked after by two at once: each is there once, and right."""
    async with world.db.acquire() as conn, conn.transaction():
        for number in range(120):
            device = await conn.fetchval(
                """INSERT INTO device (project_id, facility_id, plan_id, operating_system, hostname, root_password,
                                       password_hash, deadline)
                   SELECT $1, f.id, p.id, 'debian_12', $2, '', '', now()
                   FROM facility AS f, plan AS p WHERE f.code = 'ewr1' AND p.slug = 'c1.small.x86' RETURNING id""",
                world.project,
                f"n{number}",
            )
            await take(conn, await prefixes_for(conn, "public", "ewr1"), device, "public", now=NOW, by=BY)
    parts = parts_for(settings_for(world, named), tmp_path)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(running(world.db, parts))
        await until(lambda: _count(world.db, 120))
    names = await named.names(str(address) for address in ip_network("203.0.113.0/24"))
    assert len(names) == 120 and set(names.values()) == {f"n{number}.ewr1.example.net" for number in range(120)}


async def _count(db: Pool, count: int) -> bool:
    return bool(await db.fetchval("SELECT count(*) = $1 FROM ptr_pushed", count))


async def test_zones_are_listed_and_a_zone_file_needs_name_servers(world: World) -> None:
    await add_elastic(world, "198.51.100.64/26", 32)
    listed = {zone["zone"]: zone for zone in (await world.call("GET", "/ipam/v1/dns/zones")).body["zones"]}
    assert set(listed) >= {"113.0.203.in-addr.arpa", "0.10.in-addr.arpa", "64-26.100.51.198.in-addr.arpa"}
    assert listed["64-26.100.51.198.in-addr.arpa"]["delegation"] == ZONES["100.51.198.in-addr.arpa"]
    path = "/ipam/v1/dns/zones/113.0.203.in-addr.arpa"
    refused = await world.call("GET", path)
    assert refused.status == 422 and "dns_nameservers" in refused.body["errors"][0]
    assert (await world.call("GET", "/ipam/v1/dns/zones/1.0.203.in-addr.arpa")).status == 404


async def test_the_command_line_prints_a_zone_that_bind_takes_and_names_addresses(
    world: World, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (public,) = await add_device(world, "web1", "public")
    held = await add_elastic(world, "198.51.100.64/26", 30)
    settings = Settings(
        state_dir=tmp_path,
        ptr_template=TEMPLATE,
        dns_nameservers="ns1.example.net,ns2.example.net",
        dns_hostmaster="host.master@example.net",
    )
    server = TestServer(make_api(world.db, replace(make_parts(settings), clock=FastClock()), Hub(database_url)))
    await server.start_server()

    async def run(*words: str, as_json: bool = False) -> str:
        (command,) = [one for one in COMMANDS if one.verb == words[0]]
        parser = ArgumentParser()
        command.arguments(parser)
        client = Client(str(server.make_url("/")), TOKEN)
        with structlog.testing.capture_logs():
            status = await asyncio.to_thread(command.run, parser.parse_args(words[1:]), client, Output(as_json))
        assert status == 0
        return capsys.readouterr().out

    try:
        shown = await run("ptr", str(held.block[1]), "www.example.org")
        assert "www.example.org" in shown and f"user:{world.user}" in shown
        assert json.loads(await run("ptr", str(public.host.ip), as_json=True))["name"] == "web1.ewr1.example.net"
        listed = await run("zones")
        assert "113.0.203.in-addr.arpa" in listed and ZONES["100.51.198.in-addr.arpa"] in listed
        for zone, line in (
            ("113.0.203.in-addr.arpa", "1 IN PTR web1.ewr1.example.net."),
            ("64-26.100.51.198.in-addr.arpa", "65 IN PTR www.example.org."),
        ):
            text = await run("zone", zone)
            assert line in text.splitlines()
            (tmp_path / "zone").write_text(text)
            checked = await asyncio.create_subprocess_exec(
                program("named-checkzone"), "-q", zone, str(tmp_path / "zone")
            )
            assert await checked.wait() == 0
        assert "www.example.org" not in await run("ptr", str(held.block[1]), "--delete")
    finally:
        await server.close()


async def test_who_may_name_an_address(world: World) -> None:
    _, (public,) = await add_device(world, "web1", "public")
    held = await add_elastic(world, "198.51.100.64/26", 30)
    await world.other_tenant()
    tenant = await world.tenant_token()
    await world.add_token("reader", project_id=world.project, read_only=True)
    mine = f"/ipam/v1/ips/{public.host.ip}/ptr"
    for path in (mine, f"/ipam/v1/ips/{held.block[2]}/ptr"):
        assert (await world.call("PUT", path, {"name": "www.example.org"}, token=tenant)).status == 200
        assert (await world.call("GET", path, token="reader")).body["name"] == "www.example.org"
        assert (await world.call("PUT", path, {"name": "x.example.org"}, token="reader")).status == 403
        for method, body in (("GET", None), ("PUT", {"name": "x.example.org"}), ("DELETE", None)):
            assert (await world.call(method, path, body, token="other-token")).status == 404
            assert (await world.call(method, path, body, token=None)).status == 401
    # The leaf's side, what nobody holds, and what is no address.
    leaf = await world.call("PUT", f"/ipam/v1/ips/{public.leaf.ip}/ptr", {"name": "x.example.org"}, token=tenant)
    assert leaf.status == 422 and "is the leaf's side of" in leaf.body["errors"][0]
    for address in ("203.0.113.250", "192.0.2.1", "203.0.113", "here"):
        answer = await world.call("PUT", f"/ipam/v1/ips/{address}/ptr", {"name": "x.example.org"}, token=tenant)
        assert answer.status == 404
    for name in ("x", "x.example.org x", "", None, 7):
        assert (await world.call("PUT", mine, {"name": name}, token=tenant)).status == 422
    shown = (await world.call("GET", mine, token=tenant)).body
    assert (shown["name"], shown["own"], shown["zone"]) == ("www.example.org", True, "113.0.203.in-addr.arpa")
    zones = await world.call("GET", "/ipam/v1/dns/zones", token=tenant)
    assert zones.body["zones"] == []
    assert (await world.call("GET", "/ipam/v1/dns/zones/113.0.203.in-addr.arpa", token=tenant)).status == 404


async def test_a_name_does_not_pass_on_to_the_next_holder(world: World, named: Named, tmp_path: Path) -> None:
    theirs = await world.other_tenant()
    device, (public,) = await add_device(world, "web1", "public")
    path = f"/ipam/v1/ips/{public.host.ip}/ptr"
    await world.call("PUT", path, {"name": "www.example.org"})
    work = reverse_dns(world.db, parts_for(settings_for(world, named), tmp_path))
    await work.look()
    async with world.db.acquire() as conn, conn.transaction():
        await give_back(conn, device, now=datetime.now(UTC), by=BY)
        prefixes = await prefixes_for(conn, "public", "ewr1")
        await conn.execute("DELETE FROM free_block WHERE NOT block >>= $1", public.block)
        again = await take(conn, prefixes, device, "public", now=datetime.now(UTC), by=BY, project_id=theirs)
    assert again.block == public.block
    shown = (await world.call("GET", path, token="other-token")).body
    assert (shown["name"], shown["own"], shown["set_by"]) == (None, False, None)
    await work.look()
    assert await named.names([str(public.host.ip)]) == {str(public.host.ip): "web1.ewr1.example.net"}
    assert not await world.db.fetchval("SELECT count(*) FROM ptr")


async def test_settings_that_make_no_sense_are_told_at_the_start(db: Pool, tmp_path: Path) -> None:
    await run_reverse_dns(db, make_parts(Settings(state_dir=tmp_path)))  # no server, no work
    key = {"dns_server": "127.0.0.1", "dns_key_name": "k", "dns_key_secret": KEY_SECRET}
    for wrong, given in (
        ("dns_server", {"dns_server": "127.0.0.1:domain"}),
        ("dns_key_secret", key | {"dns_key_secret": "not base64"}),
        ("dns_key_algorithm", key | {"dns_key_algorithm": "rot13"}),
        ("ptr_template", {"ptr_template": "{host}.example.net"}),
    ):
        with pytest.raises(BadSetting, match=wrong):
            await run_reverse_dns(db, make_parts(replace(Settings(state_dir=tmp_path), **given)))  # type: ignore[arg-type]
    for text, host, port in (
        ("ns1.example.net", "ns1.example.net", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
    ):
        server = dns_server(Settings(dns_server=text))
        assert server is not None and (server.host, server.port) == (host, port)
    server = dns_server(Settings(dns_server="ns1", dns_key_name="k", dns_key_secret=KEY_SECRET))
    assert KEY_SECRET not in repr(server)

"""Real clients through real relays, and on a link of our own: address, renewal, a new server, give-up, duplicates."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from pxe.decide import Stage
from pxe.router_advert import Advert, serve_router_advert
from tests.pxe.dhcp6_clients.network import Network
from tests.pxe.dhcp6_clients.programs import CLIENTS, dhclient
from tests.pxe.dhcp6_clients.world import (
    HOST,
    LEAF,
    SERVER,
    Decider,
    addresses,
    counted,
    join,
    lease,
    missing,
    relay,
    served,
    until,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(missing("ip", "dhcrelay", "dhclient")), reason=missing("ip", "dhcrelay", "dhclient")),
]


@pytest.fixture
def net() -> Iterator[Network]:
    with Network("host", "leaf", "server") as found:
        found.cable("leaf", "p0", "host", "eth0")
        yield found


@asynccontextmanager
async def relayed(net: Network, folder: Path, words: list[str], place: str = "leaf") -> AsyncIterator[None]:
    with net.program(place, *words, log=folder / f"relay-{place}.log"):
        net.wait_for_port(place, 547)
        yield


def _there(client: str) -> bool:
    if client == "networkd":
        return Path("/usr/lib/systemd/systemd-networkd").exists()
    return shutil.which(client) is not None


@pytest.mark.parametrize("length", [127, 64])
@pytest.mark.parametrize("client", sorted(CLIENTS))
async def test_a_client_behind_a_relay(net: Network, tmp_path: Path, client: str, length: int) -> None:
    if not _there(client):
        pytest.skip(f"needs {client}")
    join(net, length=length)
    decider = Decider(lease(length=length), link=LEAF if length == 127 else LEAF + 0x100)
    advert = Advert(managed=True, lifetime_s=1800, prefix=IPv6Network((LEAF, 64)))

    async def boot() -> None:
        async with served(decider) as server, relayed(net, tmp_path, relay()):
            with net.program("host", *CLIENTS[client](tmp_path), log=tmp_path / "client.log"):
                await until(net, f" {HOST}/128 ")
            assert "dhcp6_malformed" not in server.counters.snapshot()

    async def leaf() -> None:
        async with serve_router_advert("p0", lambda: advert):
            await net.inside("server", boot)

    await net.inside("leaf", leaf)
    mac = net.run("host", "cat", "/sys/class/net/eth0/address").strip()
    assert {(asked.stage, asked.mac, asked.link_address) for asked in decider.asked} == {
        (Stage.SYSTEM, mac, decider.link)
    }


async def test_confirm_renewal_release(net: Network, tmp_path: Path) -> None:
    join(net)
    decider = Decider(lease(seconds=6))

    async def live() -> None:
        async with served(decider) as server, relayed(net, tmp_path, relay()):
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "first.log"):
                await until(net, f" {HOST}/128 ")
                await counted(server, "dhcp6_reply", 3)  # the request's, and two renewals'
                decider.lease = lease()
                await counted(server, "dhcp6_reply", 4)
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "second.log"):
                await counted(server, "dhcp6_reply", 5)
                await until(net, f" {HOST}/128 ")
            stop = [*dhclient(tmp_path), "-r"]
            stop.remove("-d")
            net.run("host", *stop)
            await until(net, "!global")

    await net.inside("server", live)
    first, second = (tmp_path / "first.log").read_text(), (tmp_path / "second.log").read_text()
    assert first.count("XMT: Forming Renew") >= 2
    assert "XMT: Forming Confirm" in second and "message status code Success" in second


async def test_another_server_takes_over_by_rebind(net: Network, tmp_path: Path) -> None:
    """Under another name it does not answer what names the first one, and answers what names nobody."""
    join(net)
    decider = Decider(lease(seconds=12))

    async def live() -> None:
        async with relayed(net, tmp_path, relay()), AsyncExitStack() as first:
            await first.enter_async_context(served(decider, name="first"))
            client = net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log")
            async with AsyncExitStack() as running:
                running.enter_context(client)
                await until(net, f" {HOST}/128 ")
                await first.aclose()
                async with served(decider, name="second") as second:
                    await counted(second, "dhcp6_reply")
                    assert second.counters.snapshot()["dhcp6_silent"] >= 1
                    await until(net, f" {HOST}/128 ")

    await net.inside("server", live)
    log = (tmp_path / "client.log").read_text()
    assert log.index("XMT: Forming Renew") < log.index("XMT: Forming Rebind")


async def test_a_ports_new_address_replaces_the_old_one(net: Network, tmp_path: Path) -> None:
    join(net)
    decider = Decider(lease(seconds=6))
    new = HOST + 0x1000

    async def live() -> None:
        async with served(decider), relayed(net, tmp_path, relay()):
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log"):
                await until(net, f" {HOST}/128 ")
                decider.lease = lease(new)
                await until(net, f" {new}/128 ")
                await until(net, f"! {HOST}/128 ")

    await net.inside("server", live)


async def test_an_address_that_somebody_else_has_is_declined(net: Network, tmp_path: Path) -> None:
    """The client's script says so, as one does that has looked for duplicates."""
    join(net)
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\n[ "$reason" = BOUND6 ] && exit 3\nexit 0\n')
    script.chmod(0o755)

    async def live() -> None:
        async with served(Decider(lease())) as server, relayed(net, tmp_path, relay()):
            client = [*dhclient(tmp_path), "-sf", str(script)]
            with net.program("host", *client, log=tmp_path / "client.log"):
                await counted(server, "dhcp6_declined")

    await net.inside("server", live)


@pytest.mark.parametrize("length", [127, 64])
async def test_a_client_on_our_own_link(net: Network, tmp_path: Path, length: int) -> None:
    """The server is on the leaf; its own address on the interface is what names the port."""
    own = LEAF if length == 127 else LEAF + 0x100
    addresses(net, "leaf", f"{own}/{length} p0")
    decider = Decider(lease(length=length), link=own)

    async def live() -> None:
        async with served(decider, listen="::", interfaces=("p0",)) as server:
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log"):
                await until(net, f" {HOST}/128 ")
            # Once each: what is multicast must not be heard by the socket at "::" as well.
            assert server.counters.snapshot() == {"dhcp6_received": 2, "dhcp6_advertise": 1, "dhcp6_reply": 1}

    await net.inside("leaf", live)
    assert {asked.interface_id for asked in decider.asked} == {None}


async def test_a_relay_that_knows_no_server(net: Network, tmp_path: Path) -> None:
    """It multicasts to all servers of the site, ff05::1:3."""
    join(net)
    decider = Decider(lease())

    async def live() -> None:
        async with served(decider, interfaces=("eth0",)), relayed(net, tmp_path, relay(upper="up0")):
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log"):
                await until(net, f" {HOST}/128 ")

    await net.inside("server", live)


@pytest.mark.skipif(bool(missing("dnsmasq")), reason=missing("dnsmasq"))
async def test_dnsmasq_as_the_relay(net: Network, tmp_path: Path) -> None:
    """It has no interface-id, and tells the client's MAC address (RFC 6939)."""
    join(net)
    decider = Decider(lease())
    words = ["dnsmasq", "-d", "--port=0", "-C", "/dev/null", "--user=root", "--interface=p0", "--interface=up0"]

    async def live() -> None:
        async with (
            served(decider),
            relayed(net, tmp_path, [*words, f"--dhcp-relay={LEAF},{SERVER}", "--log-dhcp"]),
        ):
            with net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log"):
                await until(net, f" {HOST}/128 ")

    await net.inside("server", live)
    assert {asked.interface_id for asked in decider.asked} == {None}


async def test_two_relays_in_a_row(tmp_path: Path) -> None:
    """The one at the port tells the link; the other one is told beside it."""
    with Network("host", "leaf", "spine", "server") as net:
        net.cable("leaf", "p0", "host", "eth0")
        net.cable("leaf", "up0", "spine", "down0")
        net.cable("spine", "up0", "server", "eth0")
        for place in ("leaf", "spine"):
            net.route(place)
        between, above = IPv6Address("2001:db8:7::"), IPv6Address("2001:db8:5::1")
        addresses(net, "leaf", f"{LEAF}/127 p0", f"{between}/127 up0")
        addresses(net, "spine", f"{between + 1}/127 down0", f"{above}/64 up0")
        addresses(net, "server", f"{SERVER}/64 eth0")
        net.run("server", "ip", "-6", "route", "add", "default", "via", str(above))
        decider = Decider(lease())

        async def live() -> None:
            async with (
                served(decider) as server,
                relayed(net, tmp_path, relay(lower="down0"), "spine"),
                relayed(net, tmp_path, relay(upper=f"{between + 1}%up0"), "leaf"),
            ):
                with net.program("host", *dhclient(tmp_path), log=tmp_path / "client.log"):
                    await until(net, f" {HOST}/128 ")
                assert "dhcp6_malformed" not in server.counters.snapshot()

        await net.inside("server", live)
    for asked in decider.asked:
        assert [replace(relay, interface_id=None) for relay in asked.beyond] != []
        assert asked.link_address == LEAF

"""ISC dhclient, busybox udhcpc, dhcpcd and systemd-networkd on a /31 behind a real relay: a lease's whole life."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from pxe.dhcp import options as opt
from pxe.dhcp.message import UNSPECIFIED, Message
from pxe.dhcp.options import read_routes
from tests.pxe.dhcp_clients.clients import Client, missing
from tests.pxe.dhcp_clients.net import needs, needs_root, stop, until
from tests.pxe.dhcp_clients.rack import HOST, LEAF, METADATA, SERVER, Rack, lease, rack, relay

pytestmark = [needs_root, needs("dhcrelay", "isc-dhcp-relay")]

DEFAULT = "0.0.0.0/0"


def client_of(world: Rack, kind: str) -> Client:
    if package := missing(kind):
        pytest.skip(f"needs the package {package}")
    world.folder.chmod(0o755)  # clients that give up their rights still read their files
    for folder in world.folder.parents:
        if folder.owner() == "root" and folder.name.startswith("pytest"):
            folder.chmod(0o755)
    return Client(world.net, world.folder, kind)


async def has_address(world: Rack, address: IPv4Interface = HOST) -> None:
    await until(lambda: world.net.address("host", "eth0") == [str(address)])


def asked(world: Rack, kind: int, *, relayed: bool, ciaddr: IPv4Address = UNSPECIFIED) -> list[Message]:
    """The requests of a kind that came to the server, through the relay or straight from the host."""
    found = []
    for source, _, message in world.heard.messages:
        way = message.giaddr == LEAF.ip if relayed else message.giaddr == UNSPECIFIED and source == str(HOST.ip)
        if way and (message.op, message.kind, message.ciaddr) == (1, kind, ciaddr):
            found.append(message)
    return found


def answers(world: Rack, request: Message) -> list[Message]:
    """What the server said after a request, to it or to a repetition of it (clients keep their xid for long)."""
    every = [message for _, _, message in world.heard.messages]
    after = every[next(at for at, message in enumerate(every) if message is request) :]
    return [message for message in after if message.op == 2 and message.xid == request.xid]


@pytest.mark.parametrize("kind", ["dhclient", "udhcpc", "dhcpcd", "networkd"])
async def test_a_lease_from_first_to_last(kind: str, tmp_path: Path) -> None:
    """DISCOVER to ACK, renewal by unicast, rebinding through the relay, and giving back."""
    async with rack(tmp_path) as world:
        client = client_of(world, kind)
        await relay(world)
        client.start()
        await has_address(world)
        first = answers(world, asked(world, opt.REQUEST, relayed=True)[0])[0]
        assert (first.yiaddr, first.address(opt.SUBNET_MASK)) == (HOST.ip, IPv4Address("255.255.255.254"))
        assert [str(prefix) for prefix, _ in read_routes(first.options[opt.CLASSLESS_ROUTES])] == [
            str(METADATA),
            DEFAULT,
        ]
        await until(lambda: world.net.routes("host").get("default") == str(LEAF.ip))
        if kind == "networkd":  # it has no script: what it set is what it understood
            assert world.net.routes("host")[str(METADATA.network_address)] == str(LEAF.ip)
        else:
            (bound,) = client.events("BOUND", "bound")
            assert (bound.address, bound.mask, bound.router) == (str(HOST.ip), "255.255.255.254", str(LEAF.ip))
            numbers = "32 169 254 169 254 10 64 0 24 0 10 64 0 24"
            words = f"{METADATA} {LEAF.ip} {DEFAULT} {LEAF.ip}"
            assert bound.routes == (numbers if kind == "dhclient" else words)

        # The relay sees the renewal pass and sends it once more: the same answer twice.
        await until(lambda: asked(world, opt.REQUEST, relayed=False, ciaddr=HOST.ip))
        renewal = asked(world, opt.REQUEST, relayed=False, ciaddr=HOST.ip)[0]
        await until(lambda: len(answers(world, renewal)) >= 2)
        straight, again = (
            {code: value for code, value in one.options.items() if code != opt.AGENT_INFORMATION}
            for one in answers(world, renewal)[:2]
        )
        assert straight == again
        assert straight[opt.MESSAGE_TYPE] == bytes((opt.ACK,))

        # The server is out of reach for unicasts now, and the client asks everybody.
        world.net.ip("host", f"route add blackhole {SERVER}")
        already = len(asked(world, opt.REQUEST, relayed=True, ciaddr=HOST.ip))
        await until(lambda: len(asked(world, opt.REQUEST, relayed=True, ciaddr=HOST.ip)) > already)
        rebinding = asked(world, opt.REQUEST, relayed=True, ciaddr=HOST.ip)[-1]
        assert opt.SERVER_ID not in rebinding.options
        await until(lambda: opt.ACK in {one.kind for one in answers(world, rebinding)})
        world.net.ip("host", f"route del blackhole {SERVER}")
        await has_address(world)

        client.release()
        await until(lambda: world.counters.snapshot().get("dhcp_released"))
        assert world.answered("nak") == 0
        assert {(one.giaddr, one.circuit_id) for one in world.asked if one.giaddr} == {(LEAF.ip, "p0")}


@pytest.mark.parametrize("kind", ["dhclient", "dhcpcd"])
async def test_a_client_that_comes_back_is_told_whether_it_still_belongs_there(kind: str, tmp_path: Path) -> None:
    """INIT-REBOOT: an ACK on its own port, and behind another one a NAK, after which it asks anew."""
    async with rack(tmp_path) as world:
        world.lease = lease(seconds=3600)
        client = client_of(world, kind)
        program = await relay(world)
        client.start()
        await has_address(world)
        await until(lambda: client.events("BOUND") and client.has_kept_its_lease())
        offers = world.answered("offer")
        client.kill()
        client.start()
        await until(lambda: client.events("REBOOT"))
        assert (world.answered("offer"), world.answered("nak")) == (offers, 0)

        client.kill()
        stop(program)
        other = IPv4Interface("10.64.0.41/31")
        world.net.ip("host", "-4 address flush dev eth0")
        world.net.ip("leaf", "address flush dev p0")
        world.net.ip("leaf", "address add 10.64.0.40/31 dev p0")
        world.lease = lease(other, 3600)
        await relay(world)
        client.start()
        await has_address(world, other)
        assert world.answered("offer") > offers
        assert world.answered("nak") >= 1


@needs("dnsmasq", "dnsmasq-base")
async def test_a_relay_without_option_82(tmp_path: Path) -> None:
    """dnsmasq's relay tells the giaddr alone, and that is enough on a link of one port."""
    async with rack(tmp_path) as world:
        client = client_of(world, "udhcpc")
        await relay(world, "dnsmasq")
        client.start()
        await has_address(world)
        assert {(one.giaddr, one.circuit_id, one.readings) for one in world.asked} == {(LEAF.ip, None, ())}


async def test_two_relays_in_a_row(tmp_path: Path) -> None:
    """The giaddr and the option 82 of the first one count, and the answer goes straight to it."""
    async with rack(tmp_path, relays=2) as world:
        client = client_of(world, "udhcpc")
        world.net.start("leaf", "dhcrelay", "-4", "-d", "-a", "-id", "p0", "-iu", "up0", "10.255.1.2")
        world.net.start("hop", "dhcrelay", "-4", "-d", "-m", "forward", "-id", "p1", "-iu", "up1", str(SERVER))
        client.start()
        await has_address(world)
        requests = [message for _, _, message in world.heard.messages if message.op == 1]
        assert {(message.hops, message.giaddr) for message in requests} == {(2, LEAF.ip)}
        assert {one.circuit_id for one in world.asked} == {"p0"}
        replies = [(to, message.hops) for _, to, message in world.heard.messages if message.op == 2]
        assert {to for to, _ in replies} == {str(LEAF.ip)}


async def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    """udhcpc finds by ARP that somebody else answers at its address, and declines it."""
    async with rack(tmp_path) as world:
        client = client_of(world, "udhcpc -a")
        await relay(world)
        world.net.ip("leaf", f"address add {HOST.ip}/32 dev p0")
        client.start()
        await until(lambda: world.declined)
        assert (world.declined[0].giaddr, world.declined[0].circuit_id) == (LEAF.ip, "p0")
        assert world.counters.snapshot()["dhcp_declined"] >= 1

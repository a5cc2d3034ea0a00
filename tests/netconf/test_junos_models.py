"""The whole leaf through the driver, on a server with Juniper's models; and what that does not let pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

import pytest
from lxml import etree

from netconf.desired import Announcement, BgpSession, Fabric, Leaf, Link, LinkRole, Port, Profile, Uplink
from netconf.errors import Refused
from netconf.owned import owned_objects, plain
from netconf.render import Element, configuration
from netconf.session import LeafAddress, LeafSession, open_session
from netconf.transaction import apply_all
from tests.netconf.junos_models import dangling
from tests.netconf.netconfd import netconfd, why_not
from tests.netconf.test_netconfd import FOREIGN, as_found, canonical, foreign

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# Of somebody else's, but for what the fabric is made of.
OTHERS = re.sub(r"<interface><name>lo0</name>.*?</interface>", "", FOREIGN, flags=re.DOTALL)
FABRIC = Fabric(
    4200012001,
    (ip_interface("10.255.254.12/32"), ip_interface("2001:db8:ff::12/128")),
    (
        Uplink("et-0/0/50", ip_interface("10.255.0.5/31"), ip_address("10.255.0.4"), 4200000001, "spine1"),
        Uplink("et-0/0/51", ip_interface("10.255.0.7/31"), ip_address("10.255.0.6"), 4200000002, "spine2"),
    ),
    (ip_network("192.0.2.0/24"), ip_network("2001:db8:ff::/64")),
)
SESSIONS = (
    BgpSession(
        LinkRole.PRIVATE,
        65000,
        (Announcement(ip_network("203.0.113.128/28"), False),),
        default_route=True,
        password="a secret",
    ),
    BgpSession(LinkRole.IPV6, 65000, (Announcement(ip_network("2001:db8:e00f::/48"), True),), default_route=False),
)


def host_port(number: int, profile: Profile, generation: int = 1) -> Port:
    links = (
        Link(LinkRole.BOOT, ip_interface(f"10.64.0.{number * 2}/31")),
        Link(LinkRole.BOOT, ip_interface(f"2001:db8:b:{number:x}::/127")),
        Link(LinkRole.PUBLIC, ip_interface(f"198.51.100.{number * 2}/31")),
        Link(LinkRole.PRIVATE, ip_interface(f"10.65.0.{number * 2}/31")),
        Link(LinkRole.IPV6, ip_interface(f"2001:db8:0:{number:x}::/127")),
    )
    return Port(f"xe-0/0/{number}", profile, links, generation, f"m{number}")


def leaf_of(ports: list[Port], fabric: Fabric | None = None) -> Leaf:
    servers = (IPv4Address("192.0.2.10"), IPv4Address("192.0.2.11"), IPv6Address("2001:db8:5::10"))
    boot = (IPv4Network("192.0.2.10/31"), IPv4Network("169.254.169.254/32"), IPv6Network("2001:db8:5::10/128"))
    mirrors = (IPv4Network("192.0.2.80/32"),)
    return Leaf("leaf1", tuple(ports), servers, boot, mirrors, fabric)


@pytest.fixture(scope="module")
def server() -> Iterator[LeafAddress]:
    with netconfd() as made:
        yield made


@pytest.fixture
async def address(server: LeafAddress) -> LeafAddress:
    await as_found(server, OTHERS)
    return server


def texts(objects: dict[tuple[str, ...], Element]) -> dict[tuple[str, ...], bytes]:
    return {key: etree.tostring(one) for key, one in objects.items()}


async def become(session: LeafSession, wanted: Leaf) -> Element:
    """Apply, and see that the server runs what is wanted, none of it left hanging; what it runs, in plain form."""
    applied = await apply_all(session, wanted)
    assert (applied.changed, applied.refused) == (True, {})
    running = plain(await session.get_config("running"))
    assert texts(owned_objects(running)) == texts(owned_objects(configuration(wanted)))
    assert dangling(running) == []
    return running


async def test_a_whole_leaf_through_its_life(address: LeafAddress) -> None:
    ports = [host_port(number, Profile.QUARANTINE) for number in range(48)]
    async with open_session(address) as session:
        at_first, others = canonical(await session.get_config("running")), await foreign(session)
        await become(session, leaf_of(ports, FABRIC))
        # All 48 ports change, in one commit, ...
        for profile in (Profile.PROVISIONING, Profile.ACTIVE):
            ports = [replace(one, profile=profile, generation=one.generation + 1) for one in ports]
            await become(session, leaf_of(ports, FABRIC))
        # ... and then what happens to a port in its life, each in one of its own.
        for changes in (
            {"elastic": (ip_network("203.0.113.9/32"), ip_network("2001:db8:e000:9::/64"))},
            {"bgp": SESSIONS},
            {"elastic": ()},
            {"bgp": (replace(SESSIONS[0], password="another"),)},
            {"bgp": ()},
            {"profile": Profile.RESCUE},
            {"profile": Profile.MAINTENANCE},
            {"profile": Profile.QUARANTINE},
        ):
            ports[12] = replace(ports[12], generation=ports[12].generation + 1, **changes)
            await become(session, leaf_of(ports, FABRIC))
            assert await foreign(session) == others
        await become(session, leaf_of([]))
        assert canonical(await session.get_config("running")) == at_first


def misspelt(element: Element) -> None:
    element.tag = f"{element.tag}s"


def one_up(element: Element) -> None:
    parent = element.getparent()
    assert parent is not None
    above = parent.getparent()
    assert above is not None
    above.append(element)


def twice(element: Element) -> None:
    element.addnext(etree.fromstring(etree.tostring(element)))


def nameless(element: Element) -> None:
    name = element.find("name")
    assert name is not None
    element.remove(name)


def inside_out(element: Element) -> None:
    """The element and what it stands in have changed places."""
    parent = element.getparent()
    assert parent is not None
    element.tag, parent.tag = parent.tag, element.tag


def says(text: str) -> Callable[[Element], None]:
    def change(element: Element) -> None:
        element.text = text

    return change


def holds(tag: str) -> Callable[[Element], None]:
    def change(element: Element) -> None:
        etree.SubElement(element, tag)

    return change


PORT = "interfaces/interface"
INET, INET6 = f"{PORT}/unit/family/inet", f"{PORT}/unit/family/inet6"
RELAY = "forwarding-options/dhcp-relay"
ADVERTISED = "protocols/router-advertisement/interface"
FILTER, FILTER6 = "firewall/family/inet/filter", "firewall/family/inet6/filter"
ROUTE, ROUTE6 = "routing-options/static/route", "routing-options/rib/static/route"
HOST, POLICY = "protocols/bgp/group", "policy-options/policy-statement/term"
FAULTS = [
    (PORT, misspelt),
    (PORT, nameless),
    (f"{PORT}/name", says("ge-zero")),
    (f"{PORT}/mtu", says("jumbo")),
    (f"{PORT}/mtu", twice),
    (f"{PORT}/unit", nameless),
    (f"{PORT}/unit/family", one_up),
    (f"{INET}/filter/input/filter-name", one_up),
    (f"{INET}/address/primary", misspelt),
    (f"{INET}/address/preferred", says("yes")),
    (f"{INET6}/address", one_up),
    (f"{RELAY}/server-group/server-group", one_up),
    (f"{RELAY}/group/active-server-group", holds("server")),
    (f"{RELAY}/group/forward-only", misspelt),
    (f"{RELAY}/group/relay-option-82/remote-id/hostname-only", one_up),
    (f"{RELAY}/group/interface", nameless),
    (f"{RELAY}/dhcpv6/server-group/server-group/address", says("server")),
    (f"{RELAY}/dhcpv6/group/forward-only", misspelt),
    (f"{RELAY}/dhcpv6/group/relay-agent-option-79", says("yes")),
    (f"{RELAY}/dhcpv6/group/relay-agent-interface-id/prefix/host-name", one_up),
    (f"{ADVERTISED}/managed-configuration", misspelt),
    (f"{ADVERTISED}/prefix/no-autonomous", one_up),
    (f"{ADVERTISED}/default-lifetime", says("90000")),
    (f"{ADVERTISED}/default-lifetime", one_up),
    ("policy-options/prefix-list/prefix-list-item", misspelt),
    ("policy-options/prefix-list/prefix-list-item", nameless),
    (FILTER, one_up),
    (f"{FILTER}/interface-specific", says("true")),
    (f"{FILTER}/term/from", inside_out),
    (f"{FILTER}/term/from/source-address", nameless),
    (f"{FILTER}/term/from/source-prefix-list", one_up),
    (f"{FILTER}/term/then/accept", misspelt),
    (f"{FILTER}/term/then/discard", one_up),
    (f"{FILTER6}/term/then/count", twice),
    (f"{FILTER6}/term", nameless),
    (f"{ROUTE}/next-hop", misspelt),
    (f"{ROUTE}/tag/metric-value", says("rh")),
    (f"{ROUTE}/tag/metric-value", one_up),
    (f"{ROUTE6}", nameless),
    ("routing-options/rib", nameless),
    (HOST, nameless),
    (f"{HOST}/type", says("outernal")),
    (f"{HOST}/passive", misspelt),
    (f"{HOST}/hold-time", says("70000")),
    (f"{HOST}/family/inet/unicast", one_up),
    (f"{HOST}/family/inet/unicast/prefix-limit/maximum", says("many")),
    (f"{HOST}/family/inet/unicast/prefix-limit/teardown/idle-timeout/timeout", one_up),
    (f"{HOST}/local-as/as-number", one_up),
    (f"{HOST}/neighbor", nameless),
    (f"{HOST}/neighbor/authentication-key", misspelt),
    (f"{HOST}/neighbor/authentication-key", twice),
    ("protocols/bgp/group/bfd-liveness-detection/multiplier", says("256")),
    ("protocols/bgp/group/multipath/multiple-as", one_up),
    ("protocols/lldp/interface", one_up),
    (f"{POLICY}/from/prefix-list-filter/orlonger", misspelt),
    (f"{POLICY}/from/prefix-list-filter/orlonger", one_up),
    (f"{POLICY}/from/prefix-list-filter/list_name", misspelt),
    (f"{POLICY}/from/route-filter/exact", misspelt),
    (f"{POLICY}/then/community/add", misspelt),
    (f"{POLICY}/then/reject", one_up),
    (f"{POLICY}/from/tag", says("rh")),
    ("policy-options/community/members", misspelt),
    ("policy-options/prefix-list/apply-path", one_up),
    ("firewall/policer/if-exceeding", misspelt),
    ("firewall/policer/if-exceeding/bandwidth-limit", one_up),
    (f"{FILTER}/term/then/policer", twice),
    (f"{FILTER}/term/from/tcp-established", says("yes")),
    (f"{FILTER6}/term/from/next-header", misspelt),
]


async def test_this_server_refuses_what_is_no_junos(address: LeafAddress) -> None:
    """Else it would prove little that it takes what we render."""
    port = replace(host_port(0, Profile.ACTIVE), bgp=SESSIONS, elastic=(ip_network("203.0.113.9/32"),))
    port = replace(port, elastic=(*port.elastic, ip_network("2001:db8:e000:9::/64")))
    whole = configuration(leaf_of([port], FABRIC))
    taken = []
    async with open_session(address) as session:
        await session.edit_candidate(whole)
        for place, change in FAULTS:
            await session.discard_changes()
            faulty = etree.fromstring(etree.tostring(whole))
            element = faulty.find(place)
            assert element is not None, place
            change(element)
            try:
                await session.edit_candidate(faulty)
                await session.validate()
            except Refused:
                continue
            taken.append((place, change.__qualname__))
    assert taken == []

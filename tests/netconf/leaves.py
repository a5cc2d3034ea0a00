"""Leaves of every kind, for the tests of what is rendered."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from hypothesis import strategies as st

from netconf.desired import Announcement, BgpSession, Fabric, Leaf, Link, LinkRole, Port, Profile, Uplink

PORTS = [f"xe-0/0/{number}" for number in range(6)]
_LINKS = {
    LinkRole.BOOT: "10.64.0.{}/31",
    LinkRole.PUBLIC: "198.51.100.{}/31",
    LinkRole.PRIVATE: "10.65.0.{}/31",
    LinkRole.IPV6: "2001:db8:0:{:x}::/127",
}
ANYCAST = Announcement(ip_network("198.18.0.1/32"), exact=True)
ANYCAST6 = Announcement(ip_network("2001:db8:ffff::/48"), exact=True)
FABRIC = Fabric(
    4200012001,
    (ip_interface("10.255.255.12/32"), ip_interface("2001:db8:ff::12/128")),
    (
        Uplink("et-0/0/48", ip_interface("10.255.0.1/31"), ip_address("10.255.0.0"), 4200000001, "spine1"),
        Uplink("et-0/0/48", ip_interface("2001:db8:fe::1/127"), ip_address("2001:db8:fe::"), 4200000001, "spine1"),
        Uplink("et-0/0/49", ip_interface("10.255.0.3/31"), ip_address("10.255.0.2"), 4200000002, "spine2"),
    ),
    (ip_network("192.0.2.0/24"), ip_network("2001:db8:3::/64")),
)


def port_of(number: int, profile: Profile, generation: int = 1) -> Port:
    """A port with all four links, and nothing elastic."""
    links = tuple(Link(role, ip_interface(text.format(number * 2))) for role, text in _LINKS.items())
    return Port(PORTS[number], profile, links, generation, f"m{number} 0a1b2c3d")


def boot6_of(number: int) -> Link:
    """The link that a port boots by over IPv6."""
    return Link(LinkRole.BOOT, ip_interface(f"2001:db8:b:{number:x}::/127"))


def session_of(
    number: int,
    link: LinkRole,
    *,
    anycast: bool = True,
    blocks: bool = True,
    default_route: bool = True,
    password: str = "",
) -> BgpSession:
    """A session with the host of a port, which announces a block of its own, or an anycast one, or both, or nothing."""
    block = f"203.0.113.{128 + number * 16}/28" if link is LinkRole.PRIVATE else f"2001:db8:e0{number:02x}::/48"
    own = Announcement(ip_network(block), exact=False)
    everybodys = ANYCAST if link is LinkRole.PRIVATE else ANYCAST6
    announced = (*([own] if blocks else []), *([everybodys] if anycast else []))
    return BgpSession(link, 65000 + number, announced, default_route, password)


def leaf_of(*ports: Port, fabric: Fabric | None = None) -> Leaf:
    """A leaf with these ports, two servers for IPv4 and one for IPv6, and a mirror."""
    servers = (IPv4Address("192.0.2.10"), IPv4Address("192.0.2.11"), IPv6Address("2001:db8:5::10"))
    boot = (IPv4Network("192.0.2.10/31"), IPv4Network("169.254.169.254/32"), IPv6Network("2001:db8:5::10/128"))
    return Leaf("leaf1", ports, servers, boot, (IPv4Network("192.0.2.80/32"),), fabric)


@st.composite
def ports(draw: st.DrawFn, number: int) -> Port:
    """A port in any state."""
    port = port_of(number, draw(st.sampled_from(Profile)), draw(st.integers(1, 3)))
    blocks = [f"203.0.113.{number}/32", f"203.0.113.{number + 8}/32", "198.18.7.0/24", f"2001:db8:a{number:03x}::/64"]
    elastic = draw(st.lists(st.sampled_from(blocks), unique=True))
    sessions = []
    for link in draw(st.lists(st.sampled_from([LinkRole.PRIVATE, LinkRole.IPV6]), unique=True)):
        flags = {name: draw(st.booleans()) for name in ("anycast", "blocks", "default_route")}
        sessions.append(session_of(number, link, **flags, password=draw(st.sampled_from(["", "one", "$9$two"]))))
    boots = draw(st.sampled_from([4, 4, 6, 46]))
    links = port.links if boots != 6 else port.links[1:]
    links = (boot6_of(number), *links) if boots != 4 else links
    links = links if draw(st.integers(0, 9)) else ()
    return replace(port, links=links, elastic=tuple(map(ip_network, elastic)), bgp=tuple(sessions))


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    """A leaf in any state; two of them have the same ports, and maybe other DHCP servers."""
    some = [draw(ports(number)) for number in range(len(PORTS)) if draw(st.booleans())]
    fabrics = [None, FABRIC, replace(FABRIC, management=()), replace(FABRIC, uplinks=FABRIC.uplinks[:2])]
    leaf = leaf_of(*some, fabric=draw(st.sampled_from(fabrics)))
    return replace(leaf, dhcp_servers=leaf.dhcp_servers[draw(st.integers(0, 1)) :])

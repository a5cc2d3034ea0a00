"""BGP with hosts, and the fabric: what is taken from whom, and that nothing empty accepts everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from lxml import etree

from ipam.bgp import MAX_PREFIXES, PEER_AS
from netconf import bgp
from netconf.desired import Leaf, LinkRole, Profile
from netconf.owned import desired_objects, name_of, owned_objects, plain, set_lines
from netconf.render import Element, configuration
from tests.netconf.leaves import ANYCAST, FABRIC, leaf_of, leaves, port_of, session_of

Address = IPv4Address | IPv6Address


def speaking(**how: object) -> Leaf:
    """A leaf whose one port has a session over its private link."""
    session = session_of(1, LinkRole.PRIVATE, **how)  # type: ignore[arg-type]
    return leaf_of(replace(port_of(1, Profile.ACTIVE), bgp=(session,)))


def lines(leaf: Leaf, *words: str) -> list[str]:
    return [line for line in set_lines(desired_objects(leaf)) if all(word in line for word in words)]


def test_one_number_stands_in_two_places() -> None:
    assert (bgp.LOCAL_AS, bgp._MOST_PREFIXES) == (PEER_AS, MAX_PREFIXES)


def test_one_line_feeds_the_filter_and_the_import_policy() -> None:
    leaf = speaking(anycast=False)
    block = "203.0.113.144/28"
    assert lines(leaf, block) == [f"set policy-options prefix-list rh4-bgp-xe-0/0/1 {block}"]
    assert {line.split(" rh4-bgp-xe-0/0/1")[0] for line in lines(leaf, "rh4-bgp-xe-0/0/1") if block not in line} == {
        "set firewall family inet filter rh4-xe-0/0/1 term own from source-prefix-list",
        "set policy-options policy-statement rh4-from-xe-0/0/1 term orlonger from prefix-list-filter",
    }


def test_a_session_without_prefixes_takes_nothing_and_may_still_give_a_default_route() -> None:
    leaf = speaking(anycast=False, blocks=False)
    assert lines(leaf, "rh4-from-xe-0/0/1 term") == [
        "set policy-options policy-statement rh4-from-xe-0/0/1 term rest then reject"
    ]
    assert len(lines(leaf, "rh4-to-xe-0/0/1 term default then accept")) == 1
    assert lines(speaking(default_route=False), "rh4-to-xe-0/0/1 term") == [
        "set policy-options policy-statement rh4-to-xe-0/0/1 term rest then reject"
    ]


@pytest.mark.parametrize("profile", [Profile.QUARANTINE, Profile.PROVISIONING, Profile.MAINTENANCE])
def test_nobody_speaks_bgp_on_a_port_that_is_closed(profile: Profile) -> None:
    port = replace(speaking().ports[0], profile=profile)
    assert lines(leaf_of(port), "bgp") == []
    assert lines(leaf_of(port), "policy-options") == []


def test_a_session_over_a_link_that_is_not_there_is_left_out() -> None:
    port = speaking().ports[0]
    port = replace(port, links=tuple(link for link in port.links if link.role is not LinkRole.PRIVATE))
    assert lines(leaf_of(port), "bgp") == []


def test_passwords_are_not_said_and_told_apart() -> None:
    one, other, none = (speaking(password=word) for word in ("first", "second", ""))
    assert set_lines(desired_objects(one)) == set_lines(desired_objects(other))
    assert lines(one, "SECRET") == [
        'set protocols bgp group rh4-xe-0/0/1 neighbor 10.65.0.3 authentication-key "## SECRET-DATA"'
    ]
    assert lines(none, "authentication-key") == []
    groups = [desired_objects(leaf)[("protocols", "bgp", "group", "rh4-xe-0/0/1")] for leaf in (one, other)]
    assert etree.tostring(groups[0]) != etree.tostring(groups[1])
    assert "first" not in repr(one)


def test_a_leaf_without_a_list_of_managers_shuts_nobody_out() -> None:
    leaf = leaf_of(port_of(0, Profile.ACTIVE), fabric=replace(FABRIC, management=()))
    assert lines(leaf, "protect") == lines(leaf, "rh-control") == lines(leaf, "lo0", "filter") == []
    assert len(lines(leaf, "lo0", "address")) == 2


# What the terms of a filter let through, by Junos' rules: the first term of which everything holds decides.


def _networks(root: Element, source: Element, side: str) -> Iterator[IPv4Network | IPv6Network]:
    for one in source.findall(f"{side}-address"):
        yield ip_network(name_of(one))
    for one in source.findall(f"{side}-prefix-list"):
        lists = [found for found in root.findall("policy-options/prefix-list") if name_of(found) == name_of(one)]
        assert len(lists) == 1
        for item in lists[0].findall("prefix-list-item"):
            yield ip_network(name_of(item))
        if (path := lists[0].findtext("apply-path")) and path.startswith("protocols bgp group <*> neighbor"):
            for neighbor in root.findall("protocols/bgp/group/neighbor"):
                if (":" in name_of(neighbor)) is path.endswith("<*:*>"):
                    yield ip_network(name_of(neighbor))


def _in(number: int, ranges: list[str]) -> bool:
    return any(int(some.split("-")[0]) <= number <= int(some.split("-")[-1]) for some in ranges)


def passes(leaf: Leaf, name: str, source: str, protocol: str = "tcp", **packet: int) -> bool:
    root = plain(configuration(leaf))
    found = [one for one in root.findall("firewall/family/*/filter") if name_of(one) == name]
    assert len(found) == 1
    for term in found[0].findall("term"):
        condition = term.find("from")
        if condition is not None:
            networks = list(_networks(root, condition, "source"))
            kinds = [one.text for tag in ("protocol", "next-header") for one in condition.findall(tag)]
            if networks and not any(ip_address(source) in network for network in networks):
                continue
            if kinds and protocol not in kinds:
                continue
            ports = {
                tag: [one.text or "" for one in condition.findall(tag)] for tag in ("source-port", "destination-port")
            }
            ports["icmp-type"] = [one.text or "" for one in condition.findall("icmp-type")]
            if any(some and not _in(packet.get(tag.replace("-", "_"), -1), some) for tag, some in ports.items()):
                continue
            if condition.find("tcp-established") is not None and not packet.get("established"):
                continue
        return term.find("then/accept") is not None
    raise AssertionError("no term decides")


def test_who_reaches_the_leaf_itself() -> None:
    host, peer, manager, other = "10.65.0.3", "10.255.0.0", "192.0.2.7", "198.51.100.3"
    leaf = replace(speaking(), fabric=FABRIC)
    for source, fate, protocol, packet in (
        (manager, True, "tcp", {"destination_port": 830}),
        (manager, True, "tcp", {"destination_port": 22}),
        (other, False, "tcp", {"destination_port": 22}),
        (other, False, "tcp", {"destination_port": 830, "established": 1}),
        (peer, False, "tcp", {"destination_port": 830}),
        (peer, True, "tcp", {"destination_port": 179}),
        (peer, True, "tcp", {"source_port": 179, "destination_port": 50000, "established": 1}),
        (peer, False, "tcp", {"source_port": 179, "destination_port": 830}),
        (peer, True, "udp", {"destination_port": 3784}),
        (host, True, "tcp", {"destination_port": 179}),
        (host, False, "tcp", {"destination_port": 22}),
        (other, False, "tcp", {"destination_port": 179}),
        (other, False, "udp", {"destination_port": 3784}),
        (other, True, "udp", {"source_port": 68, "destination_port": 67}),
        (other, True, "icmp", {"icmp_type": 8}),
        (other, True, "udp", {"destination_port": 33440}),
        (other, False, "udp", {"source_port": 123, "destination_port": 123}),
        (other, False, "udp", {"destination_port": 161}),
    ):
        assert passes(leaf, "rh4-protect", source, protocol, **packet) is fate, (source, protocol, packet)
    # Without the session the host is nobody.
    assert not passes(leaf_of(port_of(1, Profile.ACTIVE), fabric=FABRIC), "rh4-protect", host, destination_port=179)
    for source, fate, protocol, packet in (
        ("2001:db8:3::7", True, "tcp", {"destination_port": 830}),
        ("2001:db8:fe::", True, "tcp", {"destination_port": 179}),
        ("2001:db8:0:2::1", False, "tcp", {"destination_port": 179}),
        ("fe80::1", True, "icmp6", {"icmp_type": 135}),
        ("fe80::1", True, "icmp6", {"icmp_type": 128}),
        ("fe80::1", False, "tcp", {"destination_port": 22}),
    ):
        assert passes(leaf, "rh6-protect", source, protocol, **packet) is fate, (source, protocol, packet)


def test_managers_of_one_family_leave_the_other_shut_and_not_open() -> None:
    leaf = leaf_of(fabric=replace(FABRIC, management=(ip_network("192.0.2.0/24"),)))
    assert not passes(leaf, "rh6-protect", "2001:db8:3::7", destination_port=22)
    assert passes(leaf, "rh4-protect", "192.0.2.7", destination_port=22)


@settings(max_examples=40, deadline=None)
@given(leaf=leaves())
def test_no_condition_is_empty_and_no_list_that_one_refers_to(leaf: Leaf) -> None:
    root = plain(configuration(leaf))
    lists = root.findall("policy-options/prefix-list")
    assert all(one.find("prefix-list-item") is not None for one in lists)
    for condition in root.iter("from"):
        assert len(condition)
    for statement in root.findall("policy-options/policy-statement"):
        *before, last = statement.findall("term")
        assert last.find("from") is None
        assert last.find("then/reject") is not None
        assert all(term.find("from") is not None for term in before)
    for entry in root.findall("firewall/family/*/filter"):
        *before, last = entry.findall("term")
        assert last.find("then/discard") is not None
        assert all(term.find("from") is not None for term in before)
    # And nothing is rendered that would not be found again as ours.
    found = owned_objects(root)
    assert sum(
        1 for place in ("interfaces", "policy-options", "protocols/bgp") for _ in root.findall(f"{place}/*")
    ) == sum(key[0] in ("interfaces", "policy-options") or key[:2] == ("protocols", "bgp") for key in found)


def test_what_is_everybodys_is_taken_only_as_it_is() -> None:
    assert lines(speaking(), str(ANYCAST.prefix)) == [
        f"set policy-options prefix-list rh4-bgpx-xe-0/0/1 {ANYCAST.prefix}"
    ]
    assert len(lines(speaking(), "prefix-list-filter rh4-bgpx-xe-0/0/1 exact")) == 1

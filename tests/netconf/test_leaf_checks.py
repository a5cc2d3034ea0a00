"""What the virtual leaf refuses to commit, what it warns of, and what it takes as Junos does."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_network

import pytest
from lxml import etree

from netconf.desired import Announcement, BgpSession, Leaf, LinkRole, Port, Profile
from netconf.render import Element, configuration
from service.lab.leaf.checks import check
from service.lab.leaf.datastore import EditError, apply_edit
from service.lab.leaf.foreign import configuration_before, without_ours
from service.lab.leaf.words import commands
from tests.netconf.test_transaction import port

_BASE = """
set interfaces xe-0/0/0 unit 0 family inet address 10.0.0.0/31
set interfaces xe-0/0/0 unit 0 family inet filter input in
set firewall policer slow if-exceeding bandwidth-limit 1m
set firewall family inet filter in term a from source-prefix-list some
set firewall family inet filter in term a then policer slow
set policy-options prefix-list some 10.0.0.0/8
set policy-options community mark members 65530:1
set policy-options policy-statement take term a from prefix-list-filter some orlonger
set policy-options policy-statement take term a then community add mark
set policy-options policy-statement take term a then accept
set policy-options policy-statement give then reject
set routing-options autonomous-system 65530
set routing-options static route 192.0.2.0/24 next-hop 10.9.9.9
set protocols bgp group hosts type external peer-as 65000
set protocols bgp group hosts import take export give
set protocols bgp group hosts neighbor 10.0.0.1
set forwarding-options dhcp-relay server-group all 192.0.2.1
set forwarding-options dhcp-relay group all active-server-group all
set forwarding-options dhcp-relay group all interface xe-0/0/0.0
"""


def made(*more: str) -> Element:
    root = configuration_before("leaf1")
    for one in commands("\n".join((_BASE, *more))):
        assert not isinstance(one, EditError), one.bad_element
        apply_edit(root, one)
    return root


def test_what_holds_together_is_taken_also_with_a_next_hop_that_is_on_no_link() -> None:
    assert check(made()) == []


_WRONG = {
    "set interfaces xe-0/0/1 unit 0 family inet address 10.0.0.0/31": "10.0.0.0 is on xe-0/0/0 already",
    "set interfaces xe-0/0/1 unit 0 family inet address 10.0.0.300/31": "invalid address '10.0.0.300/31'",
    "set interfaces xe-0/0/1 unit 0 family inet6 filter input in": "filter 'in' is not defined",
    "delete firewall family inet filter in": "filter 'in' is not defined",
    "delete policy-options prefix-list some": "prefix-list 'some' is not defined",
    "delete firewall policer slow": "policer 'slow' is not defined",
    "delete policy-options community mark": "community 'mark' is not defined",
    "delete policy-options policy-statement take": "policy 'take' is not defined",
    "deactivate policy-options policy-statement give": "policy 'give' is not defined",
    "set routing-options forwarding-table export nobody": "policy 'nobody' is not defined",
    "set protocols bgp group other neighbor 10.0.0.1 peer-as 1": "neighbor 10.0.0.1 is in group 'hosts' already",
    "delete routing-options autonomous-system": "local autonomous system number must be configured",
    "delete protocols bgp group hosts peer-as": "peer AS number must be configured for an external peer",
    "delete forwarding-options dhcp-relay server-group": "server-group 'all' is not defined",
    "set policy-options prefix-list some 10.0.0.1/8": "invalid prefix '10.0.0.1/8'",
    "set routing-options rib inet6.0 static route 2001:db8::/32 next-hop there": "invalid next hop 'there'",
}


@pytest.mark.parametrize("command", _WRONG)
def test_what_does_not_hold_together_is_refused_with_its_place(command: str) -> None:
    with pytest.raises(EditError) as caught:
        check(made(command))
    assert _WRONG[command] in caught.value.message
    assert caught.value.path.startswith("[edit ")


def test_a_relay_on_an_interface_that_is_not_configured_is_warned_of() -> None:
    (warning,) = check(made("set forwarding-options dhcp-relay group all interface xe-0/0/7.0"))
    assert warning == "[edit forwarding-options dhcp-relay group all] interface xe-0/0/7.0 is not configured"


def _with_bgp(number: int) -> Port:
    one = port(number, Profile.ACTIVE)
    announced = (Announcement(ip_network(f"198.18.{number}.0/24"), exact=False),)
    sessions = (
        BgpSession(LinkRole.PRIVATE, 65000, announced, default_route=True, password="swordfish"),
        BgpSession(LinkRole.IPV6, 65000, (), default_route=False),
    )
    return Port(one.name, one.profile, one.links, one.generation, one.owner, one.elastic, sessions)


def test_a_whole_leaf_as_it_is_rendered_holds_together_and_leaves_what_is_foreign_byte_for_byte() -> None:
    ports = (*(_with_bgp(number) for number in range(3)), port(3, Profile.QUARANTINE))
    leaf = Leaf("leaf1", ports, (IPv4Address("192.0.2.10"),), (IPv4Network("192.0.2.10/32"),))
    running = configuration_before("leaf1")
    before = without_ours(running)
    apply_edit(running, configuration(leaf))
    assert check(running) == []
    assert running.find("protocols/bgp/group") is not None
    left = without_ours(running)
    assert [child.tag for child in left] == [child.tag for child in before]
    assert etree.tostring(left) == etree.tostring(before) == etree.tostring(configuration_before("leaf1"))

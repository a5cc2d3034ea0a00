"""The `set` statements read as an operator would type them on Junos."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from netconf.desired import Profile
from tests.netconf.lines import desired_lines
from tests.netconf.test_transaction import leaf_of, port

_QUARANTINED = """\
set firewall family inet filter rh4-xe-0/0/1 interface-specific
set firewall family inet filter rh4-xe-0/0/1 term dhcp from destination-port 67
set firewall family inet filter rh4-xe-0/0/1 term dhcp from protocol udp
set firewall family inet filter rh4-xe-0/0/1 term dhcp from source-address 0.0.0.0/32
set firewall family inet filter rh4-xe-0/0/1 term dhcp then accept
set firewall family inet filter rh4-xe-0/0/1 term boot from destination-address 192.0.2.10/32
set firewall family inet filter rh4-xe-0/0/1 term boot from source-address 10.64.0.3/32
set firewall family inet filter rh4-xe-0/0/1 term boot then accept
set firewall family inet filter rh4-xe-0/0/1 term spoof then count spoof
set firewall family inet filter rh4-xe-0/0/1 term spoof then discard
set firewall family inet6 filter rh6-xe-0/0/1 interface-specific
set firewall family inet6 filter rh6-xe-0/0/1 term neighbour from source-address ::/128
set firewall family inet6 filter rh6-xe-0/0/1 term neighbour from source-address fe80::/10
set firewall family inet6 filter rh6-xe-0/0/1 term neighbour then accept
set firewall family inet6 filter rh6-xe-0/0/1 term spoof then count spoof
set firewall family inet6 filter rh6-xe-0/0/1 term spoof then discard
set forwarding-options dhcp-relay group rh active-server-group rh
set forwarding-options dhcp-relay group rh forward-only
set forwarding-options dhcp-relay group rh interface xe-0/0/1.0
set forwarding-options dhcp-relay group rh relay-option-82 circuit-id
set forwarding-options dhcp-relay group rh relay-option-82 remote-id hostname-only
set forwarding-options dhcp-relay server-group rh 192.0.2.10
set interfaces xe-0/0/1 description "rh g=1 quarantine m1"
set interfaces xe-0/0/1 mtu 9216
set interfaces xe-0/0/1 unit 0 family inet address 10.64.0.2/31 primary
set interfaces xe-0/0/1 unit 0 family inet filter input rh4-xe-0/0/1
set interfaces xe-0/0/1 unit 0 family inet6 filter input rh6-xe-0/0/1
set protocols lldp interface xe-0/0/1
set protocols router-advertisement interface xe-0/0/1.0 default-lifetime 0"""


def test_a_quarantined_port_as_set_statements() -> None:
    assert desired_lines(leaf_of(port(1, Profile.QUARANTINE))) == _QUARANTINED.splitlines()


def test_prefix_lists_as_set_statements() -> None:
    lines = desired_lines(leaf_of(port(1, Profile.ACTIVE)))
    assert [line for line in lines if "policy-options" in line] == [
        "set policy-options prefix-list rh4-own-xe-0/0/1 10.65.0.3/32",
        "set policy-options prefix-list rh4-own-xe-0/0/1 198.18.0.1/32",
        "set policy-options prefix-list rh4-own-xe-0/0/1 198.51.100.3/32",
        "set policy-options prefix-list rh4-own-xe-0/0/1 203.0.113.1/32",
        "set policy-options prefix-list rh6-own-xe-0/0/1 2001:db8:0:2::1/128",
        "set policy-options prefix-list rh6-own-xe-0/0/1 2001:db8:e000:1::/64",
    ]


def test_elastic_blocks_are_static_routes_and_an_anycast_one_has_many_next_hops() -> None:
    lines = desired_lines(leaf_of(port(2, Profile.ACTIVE), port(1, Profile.ACTIVE)))
    assert [line for line in lines if "routing-options" in line] == [
        "set routing-options rib inet6.0 static route 2001:db8:e000:1::/64 next-hop 2001:db8:0:2::1",
        "set routing-options rib inet6.0 static route 2001:db8:e000:1::/64 tag 29288",
        "set routing-options rib inet6.0 static route 2001:db8:e000:2::/64 next-hop 2001:db8:0:4::1",
        "set routing-options rib inet6.0 static route 2001:db8:e000:2::/64 tag 29288",
        "set routing-options static route 198.18.0.1/32 next-hop 198.51.100.3",
        "set routing-options static route 198.18.0.1/32 next-hop 198.51.100.5",
        "set routing-options static route 198.18.0.1/32 tag 29288",
        "set routing-options static route 203.0.113.1/32 next-hop 198.51.100.3",
        "set routing-options static route 203.0.113.1/32 tag 29288",
        "set routing-options static route 203.0.113.2/32 next-hop 198.51.100.5",
        "set routing-options static route 203.0.113.2/32 tag 29288",
    ]


def test_nothing_leads_to_a_port_that_is_not_active() -> None:
    for profile in (Profile.QUARANTINE, Profile.PROVISIONING, Profile.MAINTENANCE):
        closed = replace(port(1, Profile.ACTIVE), profile=profile)
        assert not [line for line in desired_lines(leaf_of(closed)) if "routing-options" in line or "own" in line]


def _passing(profile: Profile) -> list[str]:
    """What the port lets through, and where its boot link may go."""
    leaf = replace(leaf_of(replace(port(1, Profile.ACTIVE), profile=profile)), mirrors=(IPv4Network("192.0.2.32/28"),))
    words = ("then accept", "term boot from destination-address")
    return [
        line for line in desired_lines(leaf) if line.startswith("set firewall") and any(one in line for one in words)
    ]


def test_rescue_passes_what_provisioning_does_and_the_orders_own_addresses() -> None:
    provisioning, active, rescue = (_passing(one) for one in (Profile.PROVISIONING, Profile.ACTIVE, Profile.RESCUE))
    assert set(rescue) == set(provisioning) | set(active)
    assert set(rescue) - set(active) == {
        "set firewall family inet filter rh4-xe-0/0/1 term boot from destination-address 192.0.2.32/28"
    }
    assert "set firewall family inet filter rh4-xe-0/0/1 term own then accept" in set(rescue) - set(provisioning)


def test_maintenance_passes_what_provisioning_does_and_is_named() -> None:
    assert _passing(Profile.MAINTENANCE) == _passing(Profile.PROVISIONING)
    shut, other = (desired_lines(leaf_of(port(1, one))) for one in (Profile.MAINTENANCE, Profile.PROVISIONING))
    assert set(shut) - set(other) == {'set interfaces xe-0/0/1 description "rh g=1 maintenance m1"'}

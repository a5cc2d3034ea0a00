"""What cannot be a leaf's first configuration is refused, and why is said."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from netconf.bootstrap import BadValue, Login, Management, bootstrap, first_configuration
from netconf.desired import Leaf, Profile
from netconf.statements import configuration_lines
from tests.netconf.leaves import FABRIC, leaf_of, port_of
from tests.netconf.test_golden import LOGIN, MANAGEMENT

LEAF = leaf_of(port_of(0, Profile.QUARANTINE), fabric=FABRIC)
HASH = "$5$rounds=5000$salt$" + "x" * 43


def lines(leaf: Leaf = LEAF, login: Login = LOGIN, management: Management = MANAGEMENT) -> list[str]:
    return configuration_lines(first_configuration(leaf, login, management))


@pytest.mark.parametrize("name", ["", "leaf 1", 'a"; system { }', "-leaf", "leaf_1", "x" * 64, "leaf1\n"])
def test_host_names(name: str) -> None:
    with pytest.raises(BadValue, match="host name"):
        bootstrap(replace(LEAF, name=name), LOGIN, MANAGEMENT)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"username": "root"}, "Junos' own"),
        ({"username": "Roundhouse"}, "user name"),
        ({"username": "a;b"}, "user name"),
        ({"root_password_hash": "secret"}, "root's password"),
        ({"root_password_hash": ""}, "root's password"),
        ({"root_password_hash": "$1$salt$" + "x" * 22}, "root's password"),
        ({"password_hash": "secret"}, "crypt hash"),
        ({"authorized_keys": ()}, "neither a key nor a password"),
        ({"authorized_keys": ("ssh-dss AAAA",)}, "public key 'ssh-dss'"),
        ({"authorized_keys": ("ssh-ed25519",)}, "public key"),
        ({"authorized_keys": ("ssh-ed25519 AAAA",)}, "no key of that kind"),
        ({"authorized_keys": ("ssh-ed25519 !!!!",)}, "no key of that kind"),
        ({"authorized_keys": (f'{LOGIN.authorized_keys[0]}"; }}',)}, "public key"),
        ({"authorized_keys": (f"{LOGIN.authorized_keys[0]}\nsystem",)}, "public key"),
        ({"authorized_keys": (LOGIN.authorized_keys[0].replace("ssh-ed25519", "ssh-rsa"),)}, "no key of that kind"),
    ],
)
def test_logins(change: dict[str, object], problem: str) -> None:
    with pytest.raises(BadValue, match=problem) as refused:
        bootstrap(LEAF, replace(LOGIN, **change), MANAGEMENT)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"interface": "xe-0/0/0"}, "interface"),
        ({"gateway": ip_address("198.51.100.1")}, "gateway"),
        ({"gateway": ip_address("2001:db8::1")}, "gateway"),
        ({"gateway": MANAGEMENT.address.ip}, "gateway"),
    ],
)
def test_ways_to_reach_it(change: dict[str, object], problem: str) -> None:
    with pytest.raises(BadValue, match=problem):
        bootstrap(LEAF, LOGIN, replace(MANAGEMENT, **change))  # type: ignore[arg-type]


def test_an_interface_is_one_thing_only() -> None:
    uplink = replace(FABRIC.uplinks[0], name=LEAF.ports[0].name)
    with pytest.raises(BadValue, match="both an uplink and a host port"):
        bootstrap(replace(LEAF, fabric=replace(FABRIC, uplinks=(uplink,))), LOGIN, MANAGEMENT)


def test_a_password_instead_of_a_key() -> None:
    login = replace(LOGIN, authorized_keys=(), password_hash=HASH)
    assert 'set system login user roundhouse authentication encrypted-password "## SECRET-DATA"' in lines(login=login)
    assert bootstrap(LEAF, login, MANAGEMENT).count(HASH) == 1
    assert HASH not in repr(login)


def test_management_over_ipv6_and_a_leaf_that_somebody_else_joins() -> None:
    address, gateway = ip_interface("2001:db8:3::2/64"), ip_address("2001:db8:3::1")
    said = lines(replace(LEAF, fabric=None), LOGIN, replace(MANAGEMENT, address=address, gateway=gateway))
    assert "set interfaces em0 unit 0 family inet6 address 2001:db8:3::2/64" in said
    options = "set routing-instances mgmt_junos routing-options"
    assert f"{options} rib mgmt_junos.inet6.0 static route ::/0 next-hop 2001:db8:3::1" in said
    assert not [line for line in said if "autonomous-system" in line or "lo0" in line or "rh-" in line]


def test_nothing_leads_hosts_into_the_management_network() -> None:
    static = [line for line in lines() if " static route " in line]
    assert static == ["set routing-instances mgmt_junos routing-options static route 0.0.0.0/0 next-hop 192.0.2.129"]
    fabric = replace(FABRIC, loopback=(ip_interface("2001:db8:ff::1/128"),), management=(ip_network("0.0.0.0/0"),))
    assert not [line for line in lines(replace(LEAF, fabric=fabric)) if "router-id" in line]

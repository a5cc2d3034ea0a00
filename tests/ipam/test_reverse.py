"""Reverse names and zones: every address is in exactly one zone, under the name that a resolver asks for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.SOA
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.reverse import (
    BadName,
    Zone,
    check_template,
    default_name,
    host_name,
    mailbox_name,
    zone_around,
    zone_named,
    zone_text,
    zones_of,
)
from ipam.space import Network, inside


@st.composite
def prefixes(draw: st.DrawFn) -> Network:
    """Prefixes as providers have them: /8 to /32, and /20 to /64 of IPv6."""
    if draw(st.booleans()):
        return IPv4Network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(8, 32))), strict=False)
    number, length = draw(st.integers(0, 2**128 - 1)), draw(st.integers(20, 64))
    return ip_network((number.to_bytes(16, "big"), length), strict=False)


@given(prefixes(), st.integers(0, 2**128 - 1))
def test_zones_are_the_prefix_and_hold_the_names_that_are_asked_for(prefix: Network, number: int) -> None:
    zones = zones_of(prefix)
    assert len({zone.name for zone in zones}) == len(zones)
    assert sum(zone.network.num_addresses for zone in zones) == prefix.num_addresses
    assert all(inside(zone.network, prefix) for zone in zones)
    address = prefix[number % prefix.num_addresses]
    zone = zone_around(zones, ip_network(address))
    assert zone is not None and zone_named(zones, zone.name.upper() + ".") is zone
    asked = dns.name.from_text(address.reverse_pointer)
    held = dns.name.from_text(zone.label_of(address), dns.name.from_text(zone.name))
    if not zone.classless:
        assert held == asked
        return
    # RFC 2317: the parent's CNAME leads from the one to the other.
    assert zone.delegation is not None
    _, span, label, _, target = zone.delegation.split()
    first, last = map(int, span.split("-"))
    assert first <= address.packed[-1] <= last and last - first + 1 == prefix.num_addresses
    assert label == "$" and target.replace("$", str(address.packed[-1])) == held.to_text()
    assert held.parent().parent() == asked.parent()


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("203.0.113.0/24", ["113.0.203.in-addr.arpa"]),
        ("203.0.112.0/23", ["112.0.203.in-addr.arpa", "113.0.203.in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("203.0.113.64/26", ["64-26.113.0.203.in-addr.arpa"]),
        ("2001:db8::/32", ["8.b.d.0.1.0.0.2.ip6.arpa"]),
        ("2001:db8:0:4000::/51", ["4.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "5.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"]),
    ],
)
def test_zones_as_the_rfcs_name_them(prefix: str, names: list[str]) -> None:
    assert [zone.name for zone in zones_of(ip_network(prefix))] == names


@given(
    st.from_regex(
        r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?(\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?){1,5}\.?", fullmatch=True
    )
)
def test_full_names_pass_and_mean_the_same(name: str) -> None:
    assert dns.name.from_text(host_name(name)) == dns.name.from_text(name)


NO_NAMES = (
    "",
    "web1",
    "web1.",
    ".",
    "a..b",
    "-a.example.net",
    "a-.example.net",
    "a_b.example.net",
    "x" * 64 + ".example.net",
    "a." * 127 + "net",
    "1.2.3.4",
    "web 1.example.net",
    "*.example.net",
    "é.example.net",
    "x.\0.net",
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_host_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        host_name(name)


def test_default_names() -> None:
    made = {"hostname": "web1", "facility": "ewr1", "device": "0a1b2c3d"}
    four, six = ip_address("203.0.113.7"), ip_address("::1")
    assert default_name("{address}.{facility}.example.net", four, **made) == "203-0-113-7.ewr1.example.net"
    assert default_name("{hostname}.example.net", four, **made) == "web1.example.net"
    assert default_name("{address}.example.net", six, **made) == ("0000-0000-0000-0000-0000-0000-0000-0001.example.net")
    assert default_name("{hostname}", four, **made) is None  # no full name: then there is none
    assert default_name("{hostname}", four, **(made | {"hostname": "web1.example.org"})) == "web1.example.org"
    assert default_name("{device}.{facility}.example.net", four, **made) == "0a1b2c3d.ewr1.example.net"
    check_template("{device}.{facility}.example.net")
    with pytest.raises(BadName, match=r"\{hostame\}; allowed are \{hostname\}, \{address\}"):
        check_template("{hostame}.example.net")


@given(prefixes(), st.lists(st.integers(0, 2**128 - 1), max_size=20), st.integers(0, 2**32 - 1))
def test_zone_files_are_read_back_by_another_parser(prefix: Network, numbers: list[int], serial: int) -> None:
    zone = zones_of(prefix)[0]
    addresses = {zone.network[number % zone.network.num_addresses] for number in numbers}
    names = [(address, f"host-{int(address):x}.example.net") for address in sorted(addresses, key=int)]
    text = zone_text(
        zone,
        names,
        nameservers=["ns1.example.net", "ns2.example.net"],
        hostmaster="host.master@example.net",
        serial=serial,
    )
    found = dns.zone.from_text(text, relativize=False)  # refuses a zone without SOA or NS
    origin = dns.name.from_text(zone.name)
    assert found.origin == origin
    told = {
        (name, rdata.target)
        for name, _, rdata in found.iterate_rdatas(dns.rdatatype.PTR)
        if isinstance(rdata, dns.rdtypes.ANY.PTR.PTR)
    }
    assert told == {
        (dns.name.from_text(zone.label_of(address), origin), dns.name.from_text(name)) for address, name in names
    }
    (soa,) = found.find_rdataset(origin, dns.rdatatype.SOA)
    assert isinstance(soa, dns.rdtypes.ANY.SOA.SOA)
    assert soa.serial == serial and soa.rname == dns.name.from_text(r"host\.master.example.net")


def test_a_zone_file_needs_name_servers_and_a_mailbox() -> None:
    (zone,) = zones_of(ip_network("203.0.113.0/24"))
    for nameservers, hostmaster in (
        ([], "a@example.net"),
        (["ns1"], "a@example.net"),
        (["ns1.example.net"], "example.net"),
    ):
        with pytest.raises(BadName):
            zone_text(zone, [], nameservers=nameservers, hostmaster=hostmaster, serial=1)
    assert mailbox_name("a.b@example.net").labels[0] == b"a.b"


def test_labels_of_a_zone_of_several_octets() -> None:
    assert Zone("10.in-addr.arpa", ip_network("10.0.0.0/8")).label_of(IPv4Address("10.1.2.3")) == "3.2.1"
    (zone,) = zones_of(ip_network("2001:db8::/64"))
    assert zone.label_of(IPv6Address("2001:db8::1")) == "1" + ".0" * 15

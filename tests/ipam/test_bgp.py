"""What a device may announce: its project's blocks at its facility, global ones exactly, and nothing wider."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.bgp import LOCAL_AS, Accepted, Held, accepted, why_not
from ipam.space import inside

BLOCKS = st.builds(
    lambda number, length: IPv4Network(
        (int(IPv4Address("198.51.100.0")) + (number >> (32 - length) << (32 - length)), length)
    ),
    st.integers(0, 255),
    st.integers(26, 32),
)
HELD = st.lists(st.builds(Held, BLOCKS, st.sampled_from(["ewr1", "sjc1", None])), max_size=8)


def test_by_facility_and_family_in_address_order() -> None:
    held = [
        Held(IPv4Network("203.0.113.8/29"), "ewr1"),
        Held(IPv4Network("198.18.0.0/32"), None),
        Held(IPv4Network("203.0.113.0/32"), "ewr1"),
        Held(IPv4Network("203.0.113.64/30"), "sjc1"),
        Held(IPv6Network("2001:db8::/56"), "ewr1"),
    ]
    assert accepted(held, "ewr1", 4) == [
        Accepted(IPv4Network("198.18.0.0/32"), exact=True),
        Accepted(IPv4Network("203.0.113.0/32"), exact=False),
        Accepted(IPv4Network("203.0.113.8/29"), exact=False),
    ]
    assert accepted(held, "ewr1", 6) == [Accepted(ip_network("2001:db8::/56"), exact=False)]
    assert [str(one.prefix) for one in accepted(held, "sjc1", 4)] == ["198.18.0.0/32", "203.0.113.64/30"]
    assert accepted([], "ewr1", 4) == []


def test_what_a_static_route_leads_to_a_device_nobody_announces() -> None:
    part = IPv4Network("203.0.113.10/31")
    held = [
        Held(IPv4Network("203.0.113.8/29"), "ewr1", (part,)),
        Held(IPv4Network("198.18.0.0/31"), None, (IPv4Network("198.18.0.1/32"),)),
        Held(IPv4Network("203.0.113.0/32"), "ewr1", (IPv4Network("203.0.113.0/32"),)),
    ]
    assert accepted(held, "ewr1", 4) == [
        Accepted(IPv4Network("203.0.113.8/31"), exact=False),
        Accepted(IPv4Network("203.0.113.12/30"), exact=False),
    ]


@given(held=HELD, led=st.lists(BLOCKS, max_size=4), asked=BLOCKS)
def test_a_prefix_is_led_or_announced_and_never_both(
    held: list[Held], led: list[IPv4Network], asked: IPv4Network
) -> None:
    blocks = [replace(one, led=tuple(part for part in led if inside(part, one.block))) for one in held]
    parts = {part for one in blocks for part in one.led}
    for one in accepted(blocks, "ewr1", 4):
        whose = [held for held in blocks if inside(one.prefix, held.block)]
        assert any(not any(one.prefix.overlaps(part) for part in held.led) for held in whose)
    if not any(asked.overlaps(part) for part in parts):
        whole = [one for one in blocks if one.facility == "ewr1" and inside(asked, one.block)]
        assert not whole or any(inside(asked, one.prefix) for one in accepted(blocks, "ewr1", 4))


@given(held=HELD, asked=BLOCKS)
def test_only_what_is_held_can_be_announced(held: list[Held], asked: IPv4Network) -> None:
    def takes(one: Accepted) -> bool:
        return asked == one.prefix if one.exact else inside(asked, one.prefix)

    allowed = any(takes(one) for one in accepted(held, "ewr1", 4))
    assert allowed == any(
        asked == one.block if one.facility is None else one.facility == "ewr1" and inside(asked, one.block)
        for one in held
    )


@pytest.mark.parametrize(
    ("asn", "local", "allowed"),
    [
        (LOCAL_AS, True, True),
        (64_512, True, True),
        (4_200_000_001, True, True),
        (64_496, True, False),
        (65_535, True, False),
        (64_496, False, True),
        (65_000, False, False),
        (23_456, False, False),
        (0, False, False),
        (2**32 - 1, False, False),
    ],
)
def test_numbers(asn: int, local: bool, allowed: bool) -> None:
    assert (why_not(asn, local=local) is None) is allowed

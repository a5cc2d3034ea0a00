"""The network of an installed system, judged by the programs that read its files: addresses and routes appear."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent.network import legs, network_files
from images.protocol import Address, Network, NetworkStyle
from tests.images.network_judges import Seen, applied, may_make_namespaces, missing, parsed, put

STYLES: tuple[NetworkStyle, ...] = get_args(NetworkStyle)
MACS = [f"52:54:00:00:01:0{number}" for number in range(1, 5)]


def public(address: str, gateway: str) -> Address:
    """An address that the world reaches."""
    return {"address": address, "gateway": gateway, "public": True}


def private(address: str, gateway: str) -> Address:
    """An address of the provider's private network."""
    return {"address": address, "gateway": gateway, "public": False}


V4 = public("198.51.100.5/31", "198.51.100.4")
V6 = public("2001:db8::3/127", "2001:db8::2")
INNER = private("10.1.0.5/31", "10.1.0.4")
DEFAULT = ("0.0.0.0/0", "198.51.100.4", "198.51.100.5")
DEFAULT6 = ("::/0", "2001:db8::2", "")

# Addresses, and the routes by gateways that must follow from them.
PLANS: dict[str, tuple[list[Address], set[tuple[str, str, str]]]] = {
    "both": ([V4, V6], {DEFAULT, DEFAULT6}),
    "both and private": ([V4, INNER, V6], {DEFAULT, DEFAULT6, ("10.0.0.0/8", "10.1.0.4", "10.1.0.5")}),
    "IPv4 alone": ([V4], {DEFAULT}),
    "IPv6 alone": ([V6], {DEFAULT6}),
    "private alone": ([INNER], {("0.0.0.0/0", "10.1.0.4", "10.1.0.5")}),
    "private, and IPv6": ([INNER, V6], {("0.0.0.0/0", "10.1.0.4", "10.1.0.5"), DEFAULT6}),
    "a /30 and a /64": (
        [public("198.51.100.6/30", "198.51.100.5"), public("2001:db8:0:1::2/64", "2001:db8:0:1::1")],
        {("0.0.0.0/0", "198.51.100.5", "198.51.100.6"), ("::/0", "2001:db8:0:1::1", "")},
    ),
    "gateways outside": (
        [
            public("198.51.100.5/32", "192.0.2.1"),
            private("10.1.0.5/32", "10.1.0.1"),
            public("2001:db8::3/128", "2001:db8:ffff::1"),
            private("fd00::3/128", "fd00::1"),
        ],
        {
            ("0.0.0.0/0", "192.0.2.1", "198.51.100.5"),
            ("10.0.0.0/8", "10.1.0.1", "10.1.0.5"),
            ("::/0", "2001:db8:ffff::1", ""),
            ("fd00::/8", "fd00::1", ""),
        },
    ),
}


def network(plan: str, cards: int) -> Network:
    """A plan's network on one card, or on a bond."""
    return {
        "macs": MACS[:cards],
        "bond": "lacp" if cards > 1 else "none",
        "addresses": PLANS[plan][0],
        "private_subnets": ["10.0.0.0/8", "fd00::/8"],
        "nameservers": ["192.0.2.53", "2001:db8::53"],
    }


@pytest.mark.skipif(not may_make_namespaces(), reason="namespaces are root's to make")
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("style", STYLES)
def test_addresses_and_routes_appear_on_the_card_that_is_meant_and_on_no_other(
    style: NetworkStyle, plan: str, tmp_path: Path
) -> None:
    if why := missing(style):
        pytest.skip(why)
    put(tmp_path, network_files(network(plan, 1), style))
    wanted = Seen({address["address"] for address in PLANS[plan][0]}, PLANS[plan][1])
    seen, said = applied(tmp_path, style, MACS[0], wanted)
    assert seen == wanted, said


@pytest.mark.skipif(not may_make_namespaces(), reason="namespaces are root's to make")
@pytest.mark.parametrize("cards", [1, 2, 4])
@pytest.mark.parametrize("style", STYLES)
def test_the_distributions_own_reader_complains_of_nothing(style: NetworkStyle, cards: int, tmp_path: Path) -> None:
    if why := missing(style):
        pytest.skip(why)
    for number, plan in enumerate(PLANS):
        root = tmp_path / str(number)
        put(root, network_files(network(plan, cards), style))
        assert parsed(root, style) == "", plan


@pytest.mark.skipif(not may_make_namespaces(), reason="namespaces are root's to make")
@pytest.mark.parametrize("style", STYLES)
def test_the_reader_would_complain_of_a_wrong_word(style: NetworkStyle, tmp_path: Path) -> None:
    if why := missing(style):
        pytest.skip(why)
    files = network_files(network("both", 2), style)
    for file in files:
        for word, wrong in (("LACPTransmitRate", "LACPRate"), ("lacp-rate", "lacprate"), ("lacp_rate", "lacprate")):
            file.text = file.text.replace(word, wrong)
        file.text = file.text.replace("inet static", "inet fixed")
    put(tmp_path, files)
    assert parsed(tmp_path, style)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("cards", "bond"), [(0, "none"), (2, "none"), (0, "lacp"), (5, "lacp")])
def test_cards_that_cannot_be_are_refused(style: NetworkStyle, cards: int, bond: str) -> None:
    asked = network("both", 1)
    asked["macs"] = [f"52:54:00:00:00:0{number}" for number in range(cards)]
    asked["bond"] = "lacp" if bond == "lacp" else "none"
    with pytest.raises(ValueError, match=f"^{cards} cards; allowed are"):
        network_files(asked, style)


@st.composite
def addresses(draw: st.DrawFn) -> list[Address]:
    """Some addresses, each beside its gateway."""
    made: list[Address] = []
    for _ in range(draw(st.integers(1, 5))):
        base = ipaddress.ip_address(draw(st.sampled_from(["198.51.100.0", "10.0.0.0", "2001:db8::", "fd00::"])))
        low = base + 2 * draw(st.integers(0, 100))
        made.append(
            {"address": f"{low + 1}/{low.max_prefixlen - 1}", "gateway": str(low), "public": draw(st.booleans())}
        )
    return made


@given(addresses())
def test_each_family_has_one_default_route_and_it_is_public_where_one_is(found: list[Address]) -> None:
    asked = network("both", 1)
    asked["addresses"] = found
    made = legs(asked)
    assert sorted(leg.address for leg in made) == sorted(address["address"] for address in found)
    for six in (False, True):
        family = [address for address in found if (":" in address["address"]) is six]
        defaults = [leg for leg in made if leg.six is six and ("::/0" if six else "0.0.0.0/0") in leg.destinations]
        assert len(defaults) == bool(family)
        if any(address["public"] for address in family):
            first = next(address for address in family if address["public"])
            assert defaults[0].gateway == first["gateway"]

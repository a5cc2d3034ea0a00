"""The index finds what a plain search over all ports finds, whatever was put, changed and dropped before."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.boot.facts import PortFacts
from service.boot.index import BootIndex
from tests.boot.ports import free, mac_of, port

NUMBERS = st.integers(0, 5)


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, int, PortFacts]:
    """Something that is told of a port: links, cards and names may be another port's, as while machines are moved."""
    number = draw(NUMBERS)
    facts = draw(st.sampled_from((port(number), free(number))))
    other = port(draw(NUMBERS))
    swapped: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "mac": st.just(other.mac),
                "link": st.sampled_from((other.link, None)),
                "link6": st.sampled_from((other.link6, None)),
            },
        )
    )
    return draw(st.sampled_from(("put", "put", "drop"))), number, replace(facts, **swapped)


@given(st.lists(changes(), max_size=40))
def test_every_look_finds_what_was_put_last(told: list[tuple[str, int, PortFacts]]) -> None:
    index, live, history = BootIndex(), dict[int, PortFacts](), list[PortFacts]()
    for what, number, facts in told:
        if what == "put":
            index.put(facts)
            live[number] = facts
            history.append(facts)
        else:
            index.drop(facts.port_id)
            live.pop(number, None)
    assert set(index.known()) == {facts.port_id for facts in live.values()}
    assert (len(index), index.has_leaf("leaf1")) == (len(live), bool(live))
    for number in range(6):
        asked = port(number)
        assert asked.link is not None and asked.host is not None and asked.link6 is not None and asked.mac is not None
        assert index.by_id(asked.port_id) == index.named(asked.leaf, asked.port) == live.get(number)
        assert index.at(asked.host.ip) == index.relayed_from(asked.link.ip)
        for name, value, found in (
            ("link", asked.link, index.relayed_from(asked.link.ip)),
            ("link6", asked.link6, index.relayed_from(asked.link6.ip)),
            ("mac", asked.mac, index.home_of(asked.mac)),
        ):
            carriers = [facts for facts in live.values() if getattr(facts, name) == value]
            last = next((facts for facts in reversed(history) if getattr(facts, name) == value), None)
            # Two that claim the same are a moment between two messages: the later one counts while it is there.
            assert found in carriers if found is not None else last not in carriers
            assert last not in carriers or found == last


def test_a_fresh_index_takes_the_place_of_the_old_one_at_once() -> None:
    index, fresh = BootIndex(), BootIndex()
    index.put(port(1))
    fresh.put(port(2))
    index.replace(fresh)
    assert (index.named("leaf1", "xe-0/0/1"), index.home_of(mac_of(2))) == (None, port(2))


def test_the_host_has_the_address_after_the_leafs() -> None:
    wide = port(0, link=IPv4Interface("10.0.0.1/29"))
    assert (str(port(3).host), str(port(3).host6), str(wide.host)) == ("10.64.0.7/31", "2001:db8::7/127", "10.0.0.2/29")

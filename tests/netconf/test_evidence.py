"""A change that reads back as asked for and cuts somebody off: found, taken back, and pinned on its port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from netconf import change, evidence
from netconf.desired import Fabric, Profile, Uplink
from netconf.errors import Lost
from netconf.evidence import PortState, Seen
from netconf.lldp import LldpNeighbor
from netconf.owned import desired_objects
from netconf.session import LeafSession, open_session
from netconf.transaction import apply, apply_all
from service.lab.leaf import Plug, VirtualLeaf
from service.lab.leaf.faults import Struck
from tests.netconf.lines import desired_lines
from tests.netconf.test_refusals import instead, made
from tests.netconf.test_transaction import PORTS, address, leaf_of, port

OLD, NEW = made([Profile.QUARANTINE] * 8), made([Profile.ACTIVE] * 8, 2)


@pytest.fixture
async def session(session: LeafSession) -> LeafSession:
    await apply(session, OLD)
    return session


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "_SETTLE_S", 0.2)


def lost_while(leaf: VirtualLeaf, fault: str, what: str, when: Callable[[], bool]) -> None:
    """Have `what` be lost whenever the leaf runs a configuration that is so, and only then."""
    ran, losses = leaf.ran, getattr(leaf.faults, fault)

    def look() -> None:
        losses.clear()
        if when():
            losses.add(what)
        leaf.struck = Struck.of(leaf.faults)
        ran()

    leaf.ran = look


def opened(leaf: VirtualLeaf, number: int) -> Callable[[], bool]:
    """Whether a port runs with the addresses that only an order has."""
    return lambda: f"198.51.100.{2 * number}/31".encode() in etree.tostring(leaf.running)


async def test_what_works_before_and_after_is_kept(leaf: VirtualLeaf, session: LeafSession) -> None:
    await apply(session, NEW)
    assert leaf.set_lines() == desired_lines(NEW)
    assert leaf.calls["get-interface-information"] >= 4


@pytest.mark.parametrize(
    ("fault", "what", "said"),
    [
        ("down", PORTS[3], r"xe-0/0/3: the link was up and is down"),
        ("down", "et-0/0/48", r"et-0/0/48: the link was up and is down"),
        ("lost_routes", "198.51.100.6/31", r"xe-0/0/3: there is no direct route to 198\.51\.100\.6/31"),
        ("lost_routes", "203.0.113.3/32", r"xe-0/0/3: the route to 203\.0\.113\.3/32 is not active"),
        ("lost_routes", "2001:db8:e000:3::/64", r"xe-0/0/3: the route to 2001:db8:e000:3::/64 is not active"),
    ],
)
async def test_a_change_that_something_is_lost_with_is_taken_back(
    leaf: VirtualLeaf, session: LeafSession, fault: str, what: str, said: str
) -> None:
    getattr(leaf.faults, fault).add(what)
    with pytest.raises(Lost, match=said):
        await apply(session, NEW)
    assert (leaf.set_lines(), leaf.trial, leaf.lock_holder) == (desired_lines(OLD), None, None)
    getattr(leaf.faults, fault).clear()
    await apply(session, NEW)
    assert leaf.set_lines() == desired_lines(NEW)


async def test_one_black_holed_host_holds_up_no_other(leaf: VirtualLeaf, session: LeafSession) -> None:
    lost_while(leaf, "down", PORTS[3], opened(leaf, 3))
    leaf.commits = 0
    applied = await apply_all(session, NEW)
    assert applied.refused == {PORTS[3]: "the link was up and is down"}
    assert leaf.set_lines() == desired_lines(instead(NEW, OLD, {PORTS[3]}))
    assert (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
    # All of them, all but that one, and that one by itself.
    assert leaf.commits == 3


async def test_hosts_that_are_black_holed_one_only_with_the_other_are_found(
    leaf: VirtualLeaf, session: LeafSession
) -> None:
    lost_while(leaf, "down", PORTS[1], lambda: opened(leaf, 1)() and opened(leaf, 5)())
    applied = await apply_all(session, NEW)
    assert applied.refused.keys() == {PORTS[1]}
    assert leaf.set_lines() == desired_lines(instead(NEW, OLD, {PORTS[1]}))


async def test_a_machine_that_is_switched_off_meanwhile_is_blamed_on_no_change(
    leaf: VirtualLeaf, session: LeafSession
) -> None:
    began: list[bool] = []

    def off_for_good() -> bool:
        began.append(True)
        return True

    lost_while(leaf, "down", PORTS[3], off_for_good)
    applied = await apply_all(session, NEW)
    assert (dict(applied.refused), leaf.set_lines()) == ({}, desired_lines(NEW))
    assert began


async def test_a_machine_that_is_switched_off_once_goes_with_its_second_try(
    leaf: VirtualLeaf, session: LeafSession
) -> None:
    times = iter([True])
    lost_while(leaf, "down", PORTS[3], lambda: next(times, False))
    applied = await apply_all(session, NEW)
    assert (dict(applied.refused), leaf.set_lines()) == ({}, desired_lines(NEW))


async def test_an_uplink_that_every_change_cuts_keeps_all_changes_out(leaf: VirtualLeaf, session: LeafSession) -> None:
    lost_while(leaf, "down", "et-0/0/48", lambda: leaf.set_lines() != desired_lines(OLD))
    with pytest.raises(Lost, match="et-0/0/48"):
        await apply_all(session, NEW)
    assert (leaf.set_lines(), leaf.trial, leaf.lock_holder) == (desired_lines(OLD), None, None)


async def test_what_is_taken_away_on_purpose_is_not_lost(leaf: VirtualLeaf, session: LeafSession) -> None:
    spine = Uplink("et-0/0/50", ip_interface("10.255.1.1/31"), ip_address("10.255.1.0"), 4200000001, "spine9")
    fabric = Fabric(4200012001, (ip_interface("10.255.255.40/32"),), (spine,), ())
    assert (await apply(session, replace(NEW, fabric=fabric))).changed
    applied = await apply_all(session, OLD)
    assert (dict(applied.refused), leaf.set_lines()) == ({}, desired_lines(OLD))


async def test_a_port_without_a_link_has_nothing_to_lose(leaf: VirtualLeaf, session: LeafSession) -> None:
    leaf.plugs = lambda: [Plug(name, f"02:00:00:00:00:{number:02x}") for number, name in enumerate(PORTS[:2])]
    assert (await apply(session, NEW)).changed
    assert leaf.set_lines() == desired_lines(NEW)


async def test_a_port_may_take_its_time(
    leaf: VirtualLeaf, session: LeafSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "_SETTLE_S", 20.0)
    lost_while(leaf, "down", PORTS[3], opened(leaf, 3))
    applying = asyncio.create_task(apply(session, NEW))
    while not leaf.faults.down:
        await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(0.4, leaf.faults.down.clear)
    assert (await applying).changed
    assert leaf.commits == 2


async def test_a_neighbour_that_is_not_heard_is_no_reason(leaf: VirtualLeaf, session: LeafSession) -> None:
    leaf.neighbors |= {LldpNeighbor(PORTS[3], "02:00:00:00:00:03")}
    leaf.faults.lost_neighbors.add(PORTS[3])
    assert (await apply(session, NEW)).changed


async def test_a_leaf_without_junos_calls_is_judged_by_its_configuration(leaf: VirtualLeaf) -> None:
    leaf.capabilities = tuple(one for one in leaf.capabilities if "juniper" not in one)
    async with open_session(address(leaf)) as session:
        assert not session.junos
        lost_while(leaf, "down", PORTS[3], lambda: True)
        assert (await apply(session, NEW)).changed
    assert leaf.calls["get-interface-information"] == 0


_NAMES = ("xe-0/0/0", "xe-0/0/1", "et-0/0/48")
_PORTS = st.dictionaries(st.sampled_from(_NAMES), st.booleans())


@given(before=_PORTS, after=_PORTS)
def test_what_is_lost_was_there_and_is_not(before: dict[str, bool], after: dict[str, bool]) -> None:
    def seen(ports: dict[str, bool]) -> Seen:
        states = {name: PortState(up, frozenset()) for name, up in ports.items()}
        return Seen(states, {"direct": frozenset(), "static": frozenset()}, frozenset())

    found = evidence.lost(seen(before), seen(after), {}, {})
    assert found.keys() == {name for name, up in before.items() if up and not after.get(name)}


def test_addresses_and_routes_that_the_change_brings_must_come() -> None:
    old, new = (desired_objects(leaf_of(port(0, profile))) for profile in (Profile.QUARANTINE, Profile.ACTIVE))
    nothing = Seen(
        {PORTS[0]: PortState(True, frozenset())}, {"direct": frozenset(), "static": frozenset()}, frozenset()
    )
    assert "10.64.0.0/31 is not on it" in evidence.lost(nothing, nothing, old, new)[PORTS[0]]
    # Nothing that stays as it was, and was not there before, is asked for.
    assert evidence.lost(nothing, nothing, new, new) == {}


@pytest.mark.parametrize("mark", ["", "<commit-confirmed>rollback pending</commit-confirmed>"])
def test_a_trial_is_pending_while_the_history_says_so(mark: str) -> None:
    history = etree.fromstring(
        '<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><commit-information><commit-history>'
        "<sequence-number>0</sequence-number><user>lab</user><client>netconf</client>"
        f"<comment>commit confirmed, rollback in 2mins</comment>{mark}</commit-history></commit-information>"
        "</rpc-reply>"
    )
    assert evidence.trial_in(history) == ("lab" if mark else None)

"""A change of which the leaf refuses a part: that part is found and stays as it runs, the rest goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil, log2
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from netconf.by_port import changed_ports, named_in, without
from netconf.culprits import first_culprit
from netconf.desired import Leaf, Port, Profile
from netconf.errors import Refused
from netconf.owned import owned_objects, set_lines
from netconf.render import configuration
from netconf.session import LeafSession
from netconf.transaction import apply, apply_all
from service.lab.leaf import PortRefusal, VirtualLeaf
from tests.netconf.lines import desired_lines
from tests.netconf.test_transaction import PORTS, leaf_of, port

Step = Literal["edit-config", "validate", "commit"]
STEPS: tuple[Step, ...] = ("edit-config", "validate", "commit")
_PROFILES = st.lists(st.sampled_from([None, *Profile]), min_size=8, max_size=8)


def made(profiles: Sequence[Profile | None], generation: int = 1) -> Leaf:
    return leaf_of(*(port(number, one, generation) for number, one in enumerate(profiles) if one is not None))


def instead(wanted: Leaf, running: Leaf, names: set[str]) -> Leaf:
    """`wanted`, but with the named ports as they are in `running`."""
    kept = [one for one in wanted.ports if one.name not in names]
    return replace(wanted, ports=(*kept, *(one for one in running.ports if one.name in names)))


async def _clean(leaf: VirtualLeaf, session: LeafSession, at_first: Leaf) -> None:
    leaf.faults.refuse_ports = None
    await apply(session, at_first)
    leaf.calls.clear()
    leaf.commits = 0


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("step", STEPS)
async def test_one_poisoned_port_of_eight(leaf: VirtualLeaf, session: LeafSession, step: Step, named: bool) -> None:
    at_first, wanted = made([Profile.QUARANTINE] * 8), made([Profile.ACTIVE] * 8, 2)
    for poisoned in (PORTS[0], PORTS[3], PORTS[7]):
        await _clean(leaf, session, at_first)
        leaf.faults.refuse_ports = PortRefusal({poisoned: "mgd: no such thing"}, step, named)
        applied = await apply_all(session, wanted)
        assert applied.refused == {poisoned: "mgd: no such thing"}
        assert leaf.set_lines() == desired_lines(instead(wanted, at_first, {poisoned}))
        assert (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
        assert set(applied.added) | set(applied.removed) == set(desired_lines(at_first)) ^ set(leaf.set_lines())
        assert leaf.calls["validate"] <= 1 + (1 if named else log2(8) + 1)
        assert leaf.commits == 1 or (step == "commit" and not named and leaf.commits <= log2(8) + 1)
        again = await apply_all(session, wanted)
        assert (again.changed, dict(again.refused)) == (False, {poisoned: "mgd: no such thing"})


async def test_a_passing_mood_of_the_leaf_is_blamed_on_no_port(leaf: VirtualLeaf, session: LeafSession) -> None:
    leaf.faults.refuse_next = "mgd: daemon not responding"
    wanted = made([Profile.ACTIVE] * 4)
    applied = await apply_all(session, wanted)
    assert (dict(applied.refused), leaf.set_lines(), leaf.commits) == ({}, desired_lines(wanted), 1)


async def test_a_leaf_that_takes_nothing_refuses_every_port_and_stays_as_it_is(
    leaf: VirtualLeaf, session: LeafSession
) -> None:
    leaf.faults.refuse_always = "mgd: disk full"
    applied = await apply_all(session, made([Profile.ACTIVE] * 4))
    assert dict(applied.refused) == dict.fromkeys(PORTS[:4], "mgd: disk full")
    assert (applied.changed, leaf.set_lines(), leaf.lock_holder) == (False, [], None)


async def test_what_is_shared_is_to_blame_by_itself_only(leaf: VirtualLeaf, session: LeafSession) -> None:
    wanted = made([Profile.QUARANTINE] * 3)
    await apply_all(session, wanted)
    leaf.faults.refuse_always = "mgd: no such server"
    with pytest.raises(Refused, match="no such server"):
        await apply_all(session, replace(wanted, dhcp_servers=(wanted.dhcp_servers[0] + 1,)))


async def test_of_two_ports_with_one_address_one_goes(leaf: VirtualLeaf, session: LeafSession) -> None:
    one = port(0, Profile.ACTIVE)
    other = Port(PORTS[1], Profile.ACTIVE, one.links, 1, "m1")
    third = port(2, Profile.ACTIVE)
    applied = await apply_all(session, leaf_of(one, other, third))
    assert len(applied.refused) == 1
    assert "already" in str(applied.refused)
    kept = other if one.name in applied.refused else one
    assert leaf.set_lines() == desired_lines(leaf_of(kept, third))


async def test_a_port_with_somebody_elses_configuration_is_left_alone_unless_it_may_be_taken_over(
    leaf: VirtualLeaf, session: LeafSession
) -> None:
    theirs = "<interface><name>xe-0/0/1</name><description>office</description><mtu>1500</mtu></interface>"
    interfaces = leaf.running.find("interfaces")
    assert interfaces is not None
    interfaces.append(etree.fromstring(theirs))
    leaf.discard()
    wanted = made([Profile.ACTIVE] * 3)
    applied = await apply_all(session, wanted)
    assert set(applied.refused) == {PORTS[1]}
    assert "set interfaces xe-0/0/1 description office" in applied.refused[PORTS[1]]
    assert theirs.encode() in etree.tostring(leaf.running)
    leaf.calls.clear()
    assert not (await apply_all(session, wanted)).changed
    assert leaf.calls["lock"] == 0
    with pytest.raises(Refused, match="somebody else"):
        await apply(session, wanted)
    taken = replace(wanted, ports=tuple(replace(one, take_over=True) for one in wanted.ports))
    assert not (await apply_all(session, taken)).refused
    assert leaf.set_lines() == desired_lines(wanted)


@settings(max_examples=25)
@given(
    before=_PROFILES,
    after=_PROFILES,
    poisoned=st.sets(st.sampled_from(PORTS)),
    step=st.sampled_from(STEPS),
    named=st.booleans(),
)
async def test_any_set_of_poisoned_ports_is_found_and_all_others_go(
    leaf: VirtualLeaf,
    session: LeafSession,
    before: list[Profile | None],
    after: list[Profile | None],
    poisoned: set[str],
    step: Step,
    named: bool,
) -> None:
    at_first, wanted, foreign = made(before), made(after, 2), leaf.foreign()
    await _clean(leaf, session, at_first)
    leaf.faults.refuse_ports = PortRefusal({one: f"mgd: {one} is odd" for one in poisoned}, step, named)
    touched = {one.name for one in (*at_first.ports, *wanted.ports)}
    applied = await apply_all(session, wanted)
    expected = poisoned & touched
    assert applied.refused == {one: f"mgd: {one} is odd" for one in expected}
    assert leaf.set_lines() == desired_lines(instead(wanted, at_first, expected))
    assert (leaf.trial, leaf.lock_holder, leaf.dirty, leaf.foreign()) == (None, None, False, foreign)
    if step != "commit" or named:
        assert leaf.commits <= 1


@given(before=_PROFILES, after=_PROFILES, left_out=st.sets(st.sampled_from(PORTS)))
def test_leaving_ports_out_is_having_them_as_they_run(
    before: list[Profile | None], after: list[Profile | None], left_out: set[str]
) -> None:
    old, new = made(before), made(after, 2)
    running, wanted = (owned_objects(configuration(one)) for one in (old, new))
    expected = owned_objects(configuration(instead(new, old, left_out)))
    mixed = without(wanted, running, left_out)
    assert {key: etree.tostring(one) for key, one in mixed.items()} == {
        key: etree.tostring(one) for key, one in expected.items()
    }, set(set_lines(mixed)) ^ set(set_lines(expected))
    assert set(changed_ports(mixed, running)) == set(changed_ports(wanted, running)) - left_out


@given(
    size=st.integers(1, 64),
    bad=st.sets(st.integers(0, 63), min_size=1),
    many=st.booleans(),
)
async def test_the_first_culprit_is_found_within_the_bound(size: int, bad: set[int], many: bool) -> None:
    ports = [f"p{number}" for number in range(size)]
    poisoned = {f"p{number}" for number in bad if number < size} or {ports[0]}
    probes = 0

    async def probe(some: Sequence[str]) -> Refused | None:
        nonlocal probes
        probes += 1
        return Refused("no") if poisoned & set(some) else None

    found = await first_culprit(ports, 0, Refused("no"), probe, many=many)
    assert ports[found.good] == min(poisoned, key=ports.index)
    assert many or probes <= ceil(log2(size)) + 1


async def test_a_culprit_is_refused_once_more_after_the_others_were_found_good() -> None:
    seen: list[list[str]] = []

    async def no_more(some: Sequence[str]) -> Refused | None:
        seen.append(list(some))
        return None

    ports = ["a", "b", "c", "d"]
    assert (await first_culprit(ports, 0, Refused("once"), no_more, many=False)).refusal is None
    assert seen[-1] == ports
    assert all(len(one) < len(other) for one, other in pairwise(seen))


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("[edit interfaces xe-0/0/1 unit 0]", ["xe-0/0/1"]),
        ("[edit firewall family inet filter rh4-xe-0/0/12 term own]", ["xe-0/0/12"]),
        ("/nc:rpc/nc:edit-config/nc:config/interfaces/interface[name='xe-0/0/1']/mtu", ["xe-0/0/1"]),
        ("[edit forwarding-options dhcp-relay group rh interface xe-0/0/1.0]", ["xe-0/0/1"]),
        ("[edit interfaces xe-0/0/1:2]", []),
        ("[edit system]", []),
    ],
)
def test_ports_are_read_from_an_error_path(path: str, named: list[str]) -> None:
    assert named_in(path, ["xe-0/0/1", "xe-0/0/12", "xe-0/0/2"]) == named

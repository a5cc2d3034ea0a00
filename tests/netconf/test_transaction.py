"""The transaction against the virtual leaf, over real SSH: what it leaves behind, whatever goes wrong."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, ip_interface, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from netconf.desired import Leaf, Link, LinkRole, Port, Profile
from netconf.errors import LockedByOther, NetconfError, Refused, Unreachable, Unverified
from netconf.lldp import LldpNeighbor
from netconf.owned import owned_objects, plain
from netconf.render import configuration
from netconf.session import LeafAddress, open_session
from netconf.transaction import apply
from service.lab.leaf import Trials, VirtualLeaf
from tests.netconf.lines import desired_lines, read_owned

PORTS = [f"xe-0/0/{number}" for number in range(8)]
_BASES = {
    LinkRole.BOOT: "10.64.0.{}/31",
    LinkRole.PUBLIC: "198.51.100.{}/31",
    LinkRole.PRIVATE: "10.65.0.{}/31",
    LinkRole.IPV6: "2001:db8:0:{:x}::/127",
}
_ELASTIC = ("203.0.113.{}/32", "2001:db8:e000:{:x}::/64", "198.18.0.1/32")  # the last is anycast: many ports have it


def port(number: int, profile: Profile, generation: int = 1) -> Port:
    roles = list(_BASES) if profile is Profile.ACTIVE else [LinkRole.BOOT]
    links = tuple(Link(role, ip_interface(_BASES[role].format(number * 2))) for role in roles)
    elastic = tuple(ip_network(block.format(number)) for block in _ELASTIC) if profile is Profile.ACTIVE else ()
    return Port(PORTS[number], profile, links, generation, f"m{number}", elastic)


def leaf_of(*ports: Port) -> Leaf:
    return Leaf("leaf1", ports, (IPv4Address("192.0.2.10"),), (IPv4Network("192.0.2.10/32"),))


def address(leaf: VirtualLeaf) -> LeafAddress:
    return LeafAddress(leaf.address, leaf.port, "rh", "secret", leaf.host_key)


async def test_a_leaf_becomes_what_is_desired_in_one_commit_and_then_needs_none(leaf: VirtualLeaf) -> None:
    foreign, wanted = leaf.foreign(), leaf_of(*(port(number, Profile.ACTIVE) for number in range(8)))
    async with open_session(address(leaf)) as session:
        applied = await apply(session, wanted)
        assert applied.changed
        assert await read_owned(session) == desired_lines(wanted) == leaf.set_lines()
        assert applied.commit_s is not None
        assert etree.tostring(plain(applied.running)) == etree.tostring(plain(leaf.running))
        again = await apply(session, wanted)
    assert (again.changed, again.commit_s, leaf.commits) == (False, None, 1)
    assert etree.tostring(plain(again.running)) == etree.tostring(plain(leaf.running))
    assert leaf.trial is None
    assert leaf.foreign() == foreign


@pytest.mark.parametrize("statement", ["error", "rpc-error", "load-error-count"])
async def test_a_statement_that_is_called_like_an_error_is_configuration(leaf: VirtualLeaf, statement: str) -> None:
    leaf.running.append(etree.fromstring(f"<event-options><{statement}>1</{statement}></event-options>"))
    foreign, wanted = leaf.foreign(), leaf_of(port(0, Profile.ACTIVE))
    async with open_session(address(leaf)) as session:
        assert (await apply(session, wanted)).changed
    assert (leaf.set_lines(), leaf.foreign()) == (desired_lines(wanted), foreign)


async def test_the_cable_sees_what_runs(leaf: VirtualLeaf) -> None:
    view = leaf.port_view(PORTS[3])
    seen: list[int] = []
    view.watch(lambda: seen.append(len(view.links)))
    async with open_session(address(leaf)) as session:
        for profile in (Profile.QUARANTINE, Profile.ACTIVE, Profile.QUARANTINE):
            await apply(session, leaf_of(port(3, profile)))
        assert view.relay_source == IPv4Address("10.64.0.6")
        assert view.relay_to == (IPv4Address("192.0.2.10"),)
        await apply(session, leaf_of())
    assert seen == [1, 4, 1, 0]
    assert leaf.set_lines() == []


async def test_the_leaf_tells_what_its_cables_end_in(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        assert await session.lldp_neighbors() == ()
        seen = {LldpNeighbor(PORTS[2], "02:00:00:00:00:02", "eth0"), LldpNeighbor(PORTS[1], "02:00:00:00:00:01")}
        leaf.neighbors |= seen
        assert await session.lldp_neighbors() == tuple(sorted(seen))


async def test_a_refusal_carries_the_leafs_own_reason_and_changes_nothing(leaf: VirtualLeaf) -> None:
    leaf.faults.refuse_next = "mgd: commit failed: statement not allowed"
    async with open_session(address(leaf)) as session:
        with pytest.raises(Refused, match="statement not allowed"):
            await apply(session, leaf_of(port(0, Profile.ACTIVE)))
        assert (leaf.set_lines(), leaf.lock_holder, leaf.dirty) == ([], None, False)
        await apply(session, leaf_of(port(0, Profile.ACTIVE)))


async def test_two_ports_with_one_address_are_refused_with_the_path(leaf: VirtualLeaf) -> None:
    one = port(0, Profile.QUARANTINE)
    other = Port(PORTS[1], Profile.QUARANTINE, one.links, 1, "m1")
    async with open_session(address(leaf)) as session:
        with pytest.raises(Refused, match=r"10\.64\.0\.0 is on xe-0/0/0 already.*interfaces"):
            await apply(session, leaf_of(one, other))


async def test_an_edit_that_is_lost_is_noticed_before_any_commit(leaf: VirtualLeaf) -> None:
    leaf.faults.lose_edits = True
    async with open_session(address(leaf)) as session:
        with pytest.raises(Unverified, match=r"xe-0/0/0 is missing"):
            await apply(session, leaf_of(port(0, Profile.ACTIVE)))
    assert leaf.commits == 0


async def test_a_trial_whose_controller_died_is_not_taken_for_done(leaf: VirtualLeaf) -> None:
    """What runs is as wanted, but only until the trial's timer: the next controller must not believe it."""
    wanted = leaf_of(port(0, Profile.ACTIVE))
    async with open_session(address(leaf)) as session:
        await session.edit_candidate(configuration(wanted))
        await session.commit_confirmed(1, "roundhouse-leaf1")
    async with open_session(address(leaf)) as session:
        await apply(session, wanted)
    await asyncio.sleep(1.2)
    assert leaf.set_lines() == desired_lines(wanted)


def without_named_trials(leaf: VirtualLeaf) -> None:
    """Have the leaf offer confirmed-commit 1.0 only, and treat trials as Junos does."""
    leaf.trials = Trials.DEVICE
    leaf.capabilities = tuple(one for one in leaf.capabilities if not one.endswith("confirmed-commit:1.1"))


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
async def test_a_trial_whose_confirmation_is_refused_is_taken_back_and_the_same_session_goes_on(
    leaf: VirtualLeaf, named: bool
) -> None:
    if not named:
        without_named_trials(leaf)
    wanted = leaf_of(port(0, Profile.ACTIVE))
    refusals = ["mgd: commit failed: daemon not responding"]

    def refuse_the_next_commit() -> None:
        if refusals:
            leaf.faults.refuse_next = refusals.pop()

    # The port changes with the trial commit, so the next one is the confirmation.
    leaf.port_view(PORTS[0]).watch(refuse_the_next_commit)
    async with open_session(address(leaf)) as session:
        assert session.persists is named
        with pytest.raises(Unverified, match="confirmation was refused"):
            await apply(session, wanted)
        assert (leaf.trial, leaf.set_lines()) == (None, [])
        await apply(session, wanted)
    assert (leaf.set_lines(), leaf.trial) == (desired_lines(wanted), None)


async def test_a_trial_is_not_done_while_the_leaf_refuses_to_end_it(leaf: VirtualLeaf) -> None:
    without_named_trials(leaf)
    wanted = leaf_of(port(0, Profile.ACTIVE))

    def refuse_from_now_on() -> None:
        leaf.faults.refuse_always = "mgd: commit failed: daemon not responding"

    leaf.port_view(PORTS[0]).watch(refuse_from_now_on)
    for _ in range(3):
        async with open_session(address(leaf)) as session:
            with pytest.raises(NetconfError, match="daemon not responding"):
                await apply(session, wanted)
    assert leaf.trial is not None


async def test_a_foreign_lock_is_waited_for_and_named(leaf: VirtualLeaf, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_session(address(leaf)) as operator, open_session(address(leaf)) as session:
        await operator.lock()
        changing = asyncio.create_task(apply(session, leaf_of(port(0, Profile.ACTIVE))))
        while leaf.calls["lock"] < 2:
            await asyncio.sleep(0.01)
        await operator.unlock()
        assert (await changing).changed
        await operator.lock()
        monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 0.05)
        with pytest.raises(LockedByOther, match=f"session {operator.session_id}"):
            await apply(session, leaf_of(port(1, Profile.ACTIVE)))


async def test_a_wrong_host_key_or_password_opens_nothing(leaf: VirtualLeaf) -> None:
    other = await VirtualLeaf.start("other", [], username="rh", password="secret")
    wrong = [
        LeafAddress(leaf.address, leaf.port, "rh", "secret", other.host_key),
        LeafAddress(leaf.address, leaf.port, "rh", "guess", leaf.host_key),
        LeafAddress(leaf.address, 9, "rh", "secret", leaf.host_key),
    ]
    for one in wrong:
        with pytest.raises(Unreachable):
            async with open_session(one):
                pass
    await other.stop()


_PROFILES = st.lists(st.sampled_from([None, *Profile]), min_size=8, max_size=8)


def _leaf(profiles: list[Profile | None], generation: int) -> Leaf:
    return leaf_of(*(port(number, one, generation) for number, one in enumerate(profiles) if one is not None))


@settings(max_examples=15)
@given(courses=st.lists(_PROFILES, min_size=1, max_size=4))
async def test_any_course_of_changes_ends_as_desired_and_touches_nothing_else(
    leaf: VirtualLeaf, courses: list[list[Profile | None]]
) -> None:
    foreign = leaf.foreign()
    async with open_session(address(leaf)) as session:
        for generation, profiles in enumerate(courses):
            wanted = _leaf(profiles, generation)
            await apply(session, wanted)
            assert leaf.set_lines() == desired_lines(wanted)
    assert leaf.foreign() == foreign


@given(profiles=_PROFILES)
def test_what_is_rendered_is_what_is_recognised_as_ours(profiles: list[Profile | None]) -> None:
    wanted = configuration(_leaf(profiles, 1))
    entries = sum(
        len(wanted.findall(place))
        for place in (
            "interfaces/interface",
            "forwarding-options/dhcp-relay/server-group/server-group",
            "forwarding-options/dhcp-relay/group",
            "protocols/router-advertisement/interface",
            "protocols/lldp/interface",
            "policy-options/prefix-list",
            "firewall/family/*/filter",
            "routing-options/static/route",
            "routing-options/rib/static/route",
        )
    )
    assert len(owned_objects(wanted)) == entries

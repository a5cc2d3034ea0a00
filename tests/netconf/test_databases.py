"""Changes through a private copy of the candidate, and through an instance of the ephemeral database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from netconf import change
from netconf.databases import DRAFTS, INSTANCE, as_loaded, divided, overlaid
from netconf.desired import Leaf, Profile
from netconf.errors import LockedByOther, Lost, Refused
from netconf.owned import Key, desired_objects, edit, owned_objects, set_lines
from netconf.render import Element
from netconf.session import Database, LeafAddress, open_session
from netconf.transaction import apply, apply_all
from service.lab.leaf import VirtualLeaf
from tests.netconf.lines import desired_lines, read_owned
from tests.netconf.test_evidence import lost_while, opened
from tests.netconf.test_refusals import instead, made
from tests.netconf.test_transaction import PORTS, address, leaf_of, port, without_named_trials

OLD, NEW = made([Profile.QUARANTINE] * 4), made([Profile.ACTIVE] * 4, 2)
_INSTANCE = (
    "<configuration-database><ephemeral><instance><name>roundhouse</name></instance></ephemeral>"
    "</configuration-database>"
)
_PROFILES = st.lists(st.sampled_from([None, *Profile]), min_size=8, max_size=8)


@pytest.fixture
async def leaf() -> AsyncIterator[VirtualLeaf]:
    leaf = await VirtualLeaf.start("leaf1", PORTS[:4], username="rh", password="secret")
    without_named_trials(leaf)
    system = leaf.running.find("system")
    assert system is not None
    system.append(etree.fromstring(_INSTANCE))
    leaf.discard()
    yield leaf
    await leaf.stop()


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "_SETTLE_S", 0.2)
    monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 0.05)


def of(leaf: VirtualLeaf, database: Database) -> LeafAddress:
    return replace(address(leaf), database=database)


def lines(leaf: VirtualLeaf) -> list[str]:
    """What of ours the leaf does."""
    return set_lines(owned_objects(leaf.effective))


@pytest.mark.parametrize("database", Database)
async def test_a_leaf_becomes_what_is_desired_and_then_needs_no_commit(leaf: VirtualLeaf, database: Database) -> None:
    foreign = leaf.foreign()
    async with open_session(of(leaf, database)) as session:
        for wanted in (OLD, NEW, OLD, NEW):
            applied = await apply(session, wanted)
            assert applied.changed
            assert owned_objects(applied.running).keys() == desired_objects(wanted).keys()
            assert lines(leaf) == desired_lines(wanted) == await read_owned(session)
            assert not (await apply(session, wanted)).changed
    assert (leaf.trial, leaf.lock_holder, leaf.dirty, leaf.foreign()) == (None, None, False, foreign)


@pytest.mark.parametrize("database", Database)
async def test_a_port_that_is_lost_with_its_change_is_left_out(leaf: VirtualLeaf, database: Database) -> None:
    async with open_session(of(leaf, database)) as session:
        await apply(session, OLD)
        lost_while(leaf, "down", PORTS[1], opened(leaf, 1))
        applied = await apply_all(session, NEW)
        assert applied.refused.keys() == {PORTS[1]}
        assert lines(leaf) == desired_lines(instead(NEW, OLD, {PORTS[1]}))


async def test_operators_with_private_copies_hold_up_no_private_change(leaf: VirtualLeaf) -> None:
    private = of(leaf, Database.PRIVATE)
    async with open_session(private) as operator, open_session(private) as session:
        await DRAFTS[Database.PRIVATE].begin(operator)
        await DRAFTS[Database.PRIVATE].load(operator, etree.fromstring(_HOST_NAME))
        assert (await apply(session, NEW)).changed
        await DRAFTS[Database.PRIVATE].commit(operator)
    assert (lines(leaf), leaf.running.findtext("system/host-name")) == (desired_lines(NEW), "other")


async def test_edits_in_the_shared_candidate_are_waited_for_and_never_committed(leaf: VirtualLeaf) -> None:
    async with open_session(of(leaf, Database.CANDIDATE)) as operator:
        await operator.edit_candidate(etree.fromstring(_HOST_NAME))
        for database in Database:
            async with open_session(of(leaf, database)) as session:
                with pytest.raises(LockedByOther, match="modified"):
                    await apply(session, NEW)
        assert leaf.running.findtext("system/host-name") == "leaf1"
        assert leaf.candidate.findtext("system/host-name") == "other"


_HOST_NAME = "<configuration><system><host-name>other</host-name></system></configuration>"


async def test_a_private_copy_waits_for_an_exclusive_lock(leaf: VirtualLeaf) -> None:
    async with open_session(of(leaf, Database.CANDIDATE)) as operator:
        await operator.lock()
        async with open_session(of(leaf, Database.PRIVATE)) as session:
            with pytest.raises(LockedByOther):
                await apply(session, NEW)


def moved(wanted: Leaf, block: str, number: int) -> Leaf:
    """An elastic block that leads to that port and to no other."""
    network = ip_network(block)
    ports = []
    for one in wanted.ports:
        others = tuple(other for other in one.elastic if other != network)
        mine = (*others, network) if one.name == PORTS[number] else others
        ports.append(replace(one, elastic=tuple(sorted(mine, key=str))))
    return replace(wanted, ports=tuple(ports))


def moved_to(leaf: VirtualLeaf, block: str, number: int) -> bool:
    """Whether the leaf sends a block to that port's machine."""
    routes = leaf.effective.iterfind("routing-options/static/route")
    hops = {(one.findtext("name"), one.findtext("next-hop")) for one in routes}
    return (block, f"198.51.100.{2 * number + 1}") in hops


async def test_an_elastic_block_moves_without_a_commit_of_the_candidate(leaf: VirtualLeaf) -> None:
    block = "203.0.113.77/32"
    async with open_session(of(leaf, Database.EPHEMERAL)) as session:
        await apply(session, moved(NEW, block, 0))
        assert b"203.0.113" in etree.tostring(leaf.ephemeral[INSTANCE])
        assert b"203.0.113" not in etree.tostring(leaf.running)
        leaf.calls.clear()
        await apply(session, moved(NEW, block, 1))
        assert lines(leaf) == desired_lines(moved(NEW, block, 1))
        assert (leaf.calls["commit"], leaf.calls["commit-configuration"]) == (0, 1)
        lost_while(leaf, "lost_routes", block, lambda: moved_to(leaf, block, 2))
        with pytest.raises(Lost, match=r"the route to 203\.0\.113\.77/32 is not active"):
            await apply(session, moved(NEW, block, 2))
        assert lines(leaf) == desired_lines(moved(NEW, block, 1))


async def test_an_instance_that_is_not_configured_is_refused(leaf: VirtualLeaf) -> None:
    place = leaf.running.find("system/configuration-database")
    assert place is not None
    place.clear()
    async with open_session(of(leaf, Database.EPHEMERAL)) as session:
        with pytest.raises(Refused):
            await apply(session, NEW)


def document(objects: dict[Key, Element]) -> Element:
    found = edit(objects, {})
    return etree.Element("configuration") if found is None else found


@given(profiles=_PROFILES)
def test_what_is_divided_is_all_when_one_is_laid_over_the_other(profiles: list[Profile | None]) -> None:
    objects = desired_objects(made(profiles))
    lasting, ephemeral = divided(objects)
    joined = owned_objects(overlaid(document(lasting), document(ephemeral)))
    assert {key: etree.tostring(one) for key, one in joined.items()} == {
        key: etree.tostring(one) for key, one in objects.items()
    }
    # Nothing that says who may do what, or what a port lets through, can be lost with a reboot.
    assert {key[0] for key in ephemeral} <= {"routing-options", "policy-options"}
    assert all(one.findtext("prefix-list-item/name") for one in ephemeral.values() if one.tag == "prefix-list")


def test_an_edit_is_loaded_with_junos_own_attributes() -> None:
    change = edit(desired_objects(leaf_of(port(0, Profile.ACTIVE))), desired_objects(leaf_of(port(1, Profile.ACTIVE))))
    assert change is not None
    loaded = as_loaded(change)
    interfaces = {one.findtext("name"): dict(one.attrib) for one in loaded.findall("interfaces/interface")}
    assert interfaces == {PORTS[0]: {"replace": "replace"}, PORTS[1]: {"delete": "delete"}}

"""The virtual leaf's private and ephemeral databases, and confirmed commits as Junos has them, read off the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.lab.leaf import Trials, VirtualLeaf
from tests.netconf.test_leaf_configuration import COMMIT, SET
from tests.netconf.wire import Wire, bare, kinds, told, wire

PRIVATE = "<open-configuration><private/></open-configuration>"
INSTANCE = "<open-configuration><ephemeral-instance>{}</ephemeral-instance></open-configuration>"
CLOSE = "<close-configuration/>"
NAME = SET.format("set system host-name {}")
WARNED, DONE = ["rpc-error warning", "ok"], ["commit-results", "ok"]


@pytest.fixture
async def other(leaf: VirtualLeaf) -> AsyncIterator[Wire]:
    async with wire(leaf) as made:
        yield made


def refused(reply: object) -> str:
    """What the error in a commit's results says."""
    return told(reply, "commit-results/rpc-error/error-message")[0]  # type: ignore[arg-type]


async def test_private_changes_are_merged_into_what_runs_by_then(leaf: VirtualLeaf, call: Wire, other: Wire) -> None:
    assert kinds(await call(PRIVATE)) == WARNED
    assert kinds(await call(SET.format("set system host-name mine\ndelete interfaces et-0/0/49"))) != []
    assert leaf.candidate.findtext("system/host-name") == "leaf1"
    assert not leaf.dirty
    theirs = "set interfaces et-0/0/48 mtu 1500\nset system domain-name example.net"
    assert [kinds(await other(one)) for one in (SET.format(theirs), COMMIT.format(""))][1] == DONE
    reply = bare(await call(COMMIT.format("<log>mine</log>")))
    assert [child.tag for child in reply[0]] == ["load-success", "routing-engine"]
    assert leaf.running.findtext("system/host-name") == "mine"
    assert leaf.running.findtext("system/domain-name") == "example.net"
    names = [one.findtext("name") for one in leaf.running.iterfind("interfaces/interface")]
    assert names == ["et-0/0/48", "lo0"]
    assert leaf.running.findtext("interfaces/interface/mtu") == "1500"
    # Nothing more to commit.
    reply = bare(await call(COMMIT.format("")))
    assert (kinds(reply), len(reply[0])) == (["commit-results"], 0)
    assert kinds(await call(CLOSE)) == ["ok"]
    assert kinds(await call(CLOSE)) == ["rpc-error error"]


async def test_a_private_commit_is_refused_while_the_candidate_is_locked_or_changed(
    leaf: VirtualLeaf, call: Wire, other: Wire
) -> None:
    assert kinds(await other("<lock-configuration/>")) == ["ok"]
    assert kinds(await call(PRIVATE)) == WARNED
    await call(NAME.format("mine"))
    assert f"locked by session {other.number}" in refused(await call(COMMIT.format("")))
    assert kinds(await other("<unlock-configuration/>")) == ["ok"]
    await other(NAME.format("theirs"))
    assert refused(await call(COMMIT.format(""))) == "shared configuration database modified"
    assert kinds(await other("<discard-changes/>")) == ["ok"]
    assert kinds(await call(COMMIT.format(""))) == DONE
    assert leaf.running.findtext("system/host-name") == "mine"


async def test_there_is_no_confirmed_commit_but_for_the_candidate(leaf: VirtualLeaf, call: Wire) -> None:
    await call(SET.format("set system configuration-database ephemeral instance ours"))
    await call(COMMIT.format(""))
    for opening in (PRIVATE, INSTANCE.format("ours")):
        await call(opening)
        await call(NAME.format("mine"))
        assert "confirmed commit is not allowed" in refused(await call(COMMIT.format("<confirmed/>")))
        assert kinds(await call(CLOSE)) == ["ok"]
    assert leaf.running.findtext("system/host-name") == "leaf1"


async def test_a_private_copy_is_lost_with_its_session(leaf: VirtualLeaf, other: Wire) -> None:
    async with wire(leaf) as call:
        await call(PRIVATE)
        await call(NAME.format("mine"))
    assert kinds(await other(COMMIT.format(""))) == DONE
    assert leaf.running.findtext("system/host-name") == "leaf1"


_ADDRESS = "set interfaces xe-0/0/0 unit 0 family inet address 10.0.0.{}/31"


async def test_what_is_ephemeral_has_effect_and_is_not_shown(leaf: VirtualLeaf, call: Wire, other: Wire) -> None:
    assert "not configured" in told(await call(INSTANCE.format("ours")), ".//error-message")[0]
    names = "set system configuration-database ephemeral instance {}"
    await call(SET.format("\n".join(names.format(name) for name in ("ours", "theirs"))))
    assert kinds(await call(COMMIT.format(""))) == DONE
    commits = leaf.commits
    assert kinds(await call(INSTANCE.format("ours"))) == ["ok"]
    assert kinds(await other(INSTANCE.format("ours"))) == ["rpc-error error"]
    assert kinds(await call(SET.format(_ADDRESS.format(0)))) == ["load-configuration-results"]
    assert leaf.port_view("xe-0/0/0").links == ()
    assert kinds(await call(COMMIT.format(""))) == DONE
    assert [str(link.leaf) for link in leaf.port_view("xe-0/0/0").links] == ["10.0.0.0/31"]
    assert leaf.commits == commits
    assert leaf.running.find("interfaces/interface[name='xe-0/0/0']") is None
    shown = bare(await call("<get-configuration/>"))
    assert [one.tag for one in shown[0]] == ["interfaces"]
    routes = await call("<get-route-information><protocol>direct</protocol></get-route-information>")
    assert "10.0.0.0/31" in told(routes, ".//rt-destination")
    assert kinds(await call(CLOSE)) == ["ok"]
    assert kinds(await other(INSTANCE.format("ours"))) == ["ok"]
    # A commit of what is configured leaves it alone, a reboot does not.
    await call(NAME.format("mine"))
    assert kinds(await call(COMMIT.format(""))) == DONE
    assert len(leaf.port_view("xe-0/0/0").links) == 1
    leaf.reboot()
    while leaf.port_view("xe-0/0/0").links:
        await asyncio.sleep(0.01)


async def test_nothing_but_its_syntax_is_checked_of_what_is_ephemeral(leaf: VirtualLeaf, call: Wire) -> None:
    opened = "<open-configuration><ephemeral/></open-configuration>"
    assert kinds(await call(opened)) == ["ok"]
    wrong = "set interfaces xe-0/0/0 unit 0 family inet filter input nobody\n" + _ADDRESS.format("x")
    assert kinds(bare(await call(SET.format(wrong)))[0]) == ["ok"]
    assert kinds(await call(COMMIT.format(""))) == DONE
    assert kinds(await call("<get-interface-information/>")) == ["interface-information"]
    assert kinds(bare(await call(SET.format("set interfaces xe-0/0/0 nonsense")))[0]) == [
        "rpc-error error",
        "load-error-count",
    ]
    assert kinds(bare(await call(SET.format("set apply-groups some")))[0]) == ["rpc-error error", "load-error-count"]


@pytest.fixture
async def junos() -> AsyncIterator[VirtualLeaf]:
    made = await VirtualLeaf.start("leaf1", ["xe-0/0/0"], username="rh", password="secret", trials=Trials.DEVICE)
    yield made
    await made.stop()


CONFIRMED = "<commit><confirmed/><confirm-timeout>{}</confirm-timeout></commit>"


async def test_on_junos_any_commit_confirms_a_trial_that_outlives_its_session(junos: VirtualLeaf) -> None:
    async with wire(junos) as first:
        assert not [one for one in first.capabilities if one.endswith(("confirmed-commit:1.1", "netconf:base:1.1"))]
        await first(NAME.format("mine"))
        assert kinds(await first(CONFIRMED.format(60))) == ["ok"]
    assert junos.trial is not None
    async with wire(junos) as second:
        assert kinds(await second("<commit/>")) == ["ok"]
        assert "commit-confirmed" not in {one.tag for one in bare(await second("<get-commit-information/>")).iter()}
        assert junos.running.findtext("system/host-name") == "mine"
        assert told(await second("<commit><persist>x</persist></commit>"), ".//bad-element") == ["persist"]
        assert kinds(await second("<cancel-commit/>")) == ["rpc-error error"]


async def test_on_junos_a_trial_ends_when_its_session_is_killed(junos: VirtualLeaf) -> None:
    async with wire(junos) as first, wire(junos) as second:
        await first(NAME.format("mine"))
        assert kinds(await first(CONFIRMED.format(60))) == ["ok"]
        kill = f"<kill-session><session-id>{first.number}</session-id></kill-session>"
        assert kinds(await second(kill)) == ["ok"]
        while junos.trial is not None:
            await asyncio.sleep(0.01)
    assert junos.running.findtext("system/host-name") == "leaf1"


async def test_on_junos_who_has_the_lock_is_told_in_words(junos: VirtualLeaf) -> None:
    async with wire(junos) as first, wire(junos) as second:
        assert kinds(await first("<lock><target><candidate/></target></lock>")) == ["ok"]
        reply = bare(await second("<lock><target><candidate/></target></lock>"))
        assert reply.find("rpc-error/error-tag") is None
        said = reply.findtext("rpc-error/error-message") or ""
        assert said.startswith(f"configuration database locked by:\n  rh terminal  (pid {first.number}) on since ")


async def test_confirming_takes_half_of_a_commits_time_or_as_is_said(leaf: VirtualLeaf, call: Wire) -> None:
    clock = asyncio.get_running_loop().time
    for said, least in ((None, 0.2), (0.6, 0.6)):
        leaf.commit_seconds, leaf.confirm_seconds = 0.4, said
        await call(NAME.format("mine"))
        began = clock()
        assert kinds(await call("<commit><confirmed/></commit>")) == ["ok"]
        assert clock() - began >= 0.4
        began = clock()
        assert kinds(await call("<commit/>")) == ["ok"]
        assert clock() - began >= least
        assert leaf.trial is None

"""Each fault of the virtual leaf strikes each call that it is set for, in RFC 6241's words and in Junos'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncssh
import pytest

from service.lab.leaf import Fault, Point, VirtualLeaf
from tests.netconf.test_leaf_configuration import COMMIT, SET
from tests.netconf.wire import Wire, bare, kinds, told, wire


@pytest.fixture
async def leaf() -> AsyncIterator[VirtualLeaf]:
    made = await VirtualLeaf.start("leaf1", ["xe-0/0/0"], username="rh", password="secret")
    made.faults.reboot_seconds = 0.05
    yield made
    await made.stop()


_EDIT = (
    "<edit-config><target><candidate/></target><config><configuration><system><host-name>other</host-name></system>"
    "</configuration></config></edit-config>"
)
_READ = "<get-config><source><running/></source></get-config>"
_PERSISTENT = "<commit><confirmed/><persist>x</persist></commit>"
_ON_TRIAL = ("<lock><target><candidate/></target></lock>", _EDIT, _PERSISTENT)
# What is called before, and the call that the fault strikes.
_RFC: dict[Point, tuple[tuple[str, ...], str]] = {
    Point.READ: ((), _READ),
    Point.LOCK: ((), "<lock><target><candidate/></target></lock>"),
    Point.EDIT: ((), _EDIT),
    Point.VALIDATE: ((_EDIT,), "<validate><source><candidate/></source></validate>"),
    Point.COMMIT_CONFIRMED: ((_EDIT,), _PERSISTENT),
    Point.READ_ON_TRIAL: (_ON_TRIAL, _READ),
    Point.COMMIT: ((_EDIT, _PERSISTENT), "<commit><persist-id>x</persist-id></commit>"),
    Point.UNLOCK: (("<lock><target><candidate/></target></lock>",), "<unlock><target><candidate/></target></unlock>"),
}
_LOAD = SET.format("set system host-name other")
_CONFIRMED = COMMIT.format("<confirmed/>")
_JUNOS: dict[Point, tuple[tuple[str, ...], str]] = {
    Point.READ: ((), "<get-configuration/>"),
    Point.LOCK: ((), "<lock-configuration/>"),
    Point.EDIT: ((), _LOAD),
    Point.VALIDATE: ((_LOAD,), COMMIT.format("<check/>")),
    Point.COMMIT_CONFIRMED: ((_LOAD,), _CONFIRMED),
    Point.READ_ON_TRIAL: ((_LOAD, _CONFIRMED), '<get-configuration database="committed"/>'),
    Point.COMMIT: ((_LOAD, _CONFIRMED), COMMIT.format("")),
    Point.UNLOCK: (("<lock-configuration/>",), "<unlock-configuration/>"),
}
_ENDED = (asyncio.IncompleteReadError, asyncssh.Error, BrokenPipeError)


def effect(leaf: VirtualLeaf, point: Point) -> bool:
    """Whether the call at the point was carried out."""
    match point:
        case Point.LOCK:
            return leaf.lock_holder is not None
        case Point.UNLOCK:
            return leaf.lock_holder is None
        case Point.EDIT:
            return leaf.dirty
        case Point.COMMIT_CONFIRMED:
            return leaf.commits == 1
        case Point.COMMIT:
            return leaf.trial is None and leaf.running.findtext("system/host-name") == "other"
        case _:
            return True


@pytest.mark.parametrize("words", [_RFC, _JUNOS], ids=["rfc", "junos"])
@pytest.mark.parametrize("point", Point)
async def test_each_fault_strikes_at_each_point(
    leaf: VirtualLeaf, words: dict[Point, tuple[tuple[str, ...], str]], point: Point
) -> None:
    before, operation = words[point]
    for fault in Fault:
        async with wire(leaf) as call:
            for one in before:
                assert "rpc-error error" not in kinds(await call(one))
            leaf.faults.next[point] = fault
            await _struck(leaf, call, operation, fault, point)
        assert not leaf.faults.next, "the fault did not strike"
        await _calm(leaf)


async def _struck(leaf: VirtualLeaf, call: Wire, operation: str, fault: Fault, point: Point) -> None:
    match fault:
        case Fault.REFUSE:
            reply = await call(operation)
            assert "failed" in told(reply, ".//error-message")[0]
            assert "ok" not in kinds(reply)
        case Fault.ERROR_BESIDE_OK:
            reply = await call(operation)
            assert kinds(reply)[-1] == "ok"
            assert {one.findtext("error-severity") for one in bare(reply).iter("rpc-error")} == {"error"}
        case Fault.WARNINGS:
            severities = [one.findtext("error-severity") for one in bare(await call(operation)).iter("rpc-error")]
            assert severities == ["warning"] * 200
            assert effect(leaf, point)
        case Fault.HANG:
            await _silent(call, operation)
        case Fault.HALF_THEN_SILENT:
            call.process.stdin.write(_message(operation))
            assert await call.process.stdout.readexactly(8)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await call.receive()
            assert effect(leaf, point)
        case Fault.HALF_THEN_GONE:
            with pytest.raises(_ENDED) as caught:
                await call(operation)
            assert not isinstance(caught.value, asyncio.IncompleteReadError) or len(caught.value.partial) > 0
        case _:  # dropped or rebooted, before or after
            with pytest.raises(_ENDED):
                await call(operation)


def _message(operation: str) -> bytes:
    return f'<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{operation}</rpc>]]>]]>'.encode()


async def _silent(call: Wire, operation: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await call(operation)


async def _calm(leaf: VirtualLeaf) -> None:
    """Wait until the leaf is there again, and make it what it was."""
    while leaf.sessions:
        await asyncio.sleep(0.005)
    leaf.restore()
    while True:
        try:
            async with wire(leaf) as call:
                await call("<discard-changes/>")
                for one in (SET.format("set system host-name leaf1"), "<commit/>"):
                    assert "rpc-error error" not in kinds(await call(one))
        except (OSError, asyncssh.Error):
            await asyncio.sleep(0.02)
        else:
            leaf.commits = 0
            return


_OTHERS = {
    "open-configuration": "<open-configuration><private/></open-configuration>",
    "get-interface-information": "<get-interface-information/>",
    "get-commit-information": "<get-commit-information/>",
}


@pytest.mark.parametrize("name", _OTHERS)
async def test_any_other_call_is_struck_by_its_name(leaf: VirtualLeaf, name: str) -> None:
    async with wire(leaf) as call:
        leaf.faults.next[name] = Fault.REFUSE
        assert told(await call(_OTHERS[name]), ".//error-message") == [f"mgd: {name} failed"]
        assert "rpc-error error" not in kinds(await call(_OTHERS[name]))


@pytest.mark.parametrize(("edit", "commit"), [(_EDIT, "<commit><confirmed/></commit>"), (_LOAD, _CONFIRMED)])
async def test_a_black_hole_opens_with_the_commit_and_closes_when_it_is_taken_back(
    leaf: VirtualLeaf, edit: str, commit: str
) -> None:
    leaf.faults.black_hole = True
    async with wire(leaf) as call:
        await call(edit)
        assert "ok" in kinds(await call(commit))
        await _silent(call, _READ)
        leaf.roll_back()
        assert kinds(await call.receive()) == ["data"]


async def test_a_reboot_in_the_middle_of_a_commit_undoes_it(leaf: VirtualLeaf) -> None:
    leaf.commit_seconds = 0.3
    async with wire(leaf) as call:
        assert kinds(await call(_LOAD)) == ["load-configuration-results"]
        committing = asyncio.create_task(call(COMMIT.format("")))
        await asyncio.sleep(0.1)
        leaf.reboot()
        with pytest.raises(_ENDED):
            await committing
    await asyncio.sleep(0.4)
    assert (leaf.commits, leaf.running.findtext("system/host-name")) == (0, "leaf1")
    leaf.commit_seconds = 0.0
    await _calm(leaf)

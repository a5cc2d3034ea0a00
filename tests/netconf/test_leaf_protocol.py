"""What the virtual leaf answers to calls that our own client never makes, read off the wire."""

from __future__ import annotations

import asyncio

import pytest
from lxml import etree

from netconf.owned import NETCONF
from netconf.render import Element
from netconf.session import LeafAddress, open_session
from service.lab.leaf import VirtualLeaf
from tests.netconf.wire import Wire

_IN = {"nc": NETCONF}


def said(reply: Element) -> tuple[str | None, str | None]:
    """The error's tag, and the element that it is about."""
    return (
        reply.findtext("nc:rpc-error/nc:error-tag", namespaces=_IN),
        reply.findtext("nc:rpc-error/nc:error-info/nc:bad-element", namespaces=_IN),
    )


async def still_answers(call: Wire) -> bool:
    return (await call("<discard-changes/>")).find("nc:ok", _IN) is not None


_NO_NUMBERS = ["soon", "0", "-5", "1.5", "1_0", "", "4294967296", "9" * 5000]


@pytest.mark.parametrize("value", _NO_NUMBERS, ids=lambda value: value[:12] or "empty")
async def test_a_confirm_timeout_that_is_none_is_refused_by_name(leaf: VirtualLeaf, call: Wire, value: str) -> None:
    reply = await call(f"<commit><confirmed/><confirm-timeout>{value}</confirm-timeout></commit>")
    assert said(reply) == ("invalid-value", "confirm-timeout")
    assert (leaf.commits, leaf.trial) == (0, None)
    assert await still_answers(call)


@pytest.mark.parametrize("timeout", ["", "<confirm-timeout>4294967295</confirm-timeout>"], ids=["default", "longest"])
async def test_a_confirmed_commit_with_a_good_timeout_is_on_trial(leaf: VirtualLeaf, call: Wire, timeout: str) -> None:
    reply = await call(f"<commit><confirmed/>{timeout}</commit>")
    assert reply.find("nc:ok", _IN) is not None
    assert leaf.trial is not None


@pytest.mark.parametrize("value", [*_NO_NUMBERS, "999"], ids=lambda value: value[:12] or "empty")
async def test_a_session_id_that_is_nobodys_is_refused_by_name(call: Wire, value: str) -> None:
    reply = await call(f"<kill-session><session-id>{value}</session-id></kill-session>")
    assert said(reply) == ("invalid-value", "session-id")
    assert await still_answers(call)


async def test_another_session_is_killed_by_its_number(leaf: VirtualLeaf, call: Wire) -> None:
    async with open_session(LeafAddress(leaf.address, leaf.port, "rh", "secret", leaf.host_key)) as victim:
        reply = await call(f"<kill-session><session-id> {victim.session_id} </session-id></kill-session>")
        assert reply.find("nc:ok", _IN) is not None
        while int(victim.session_id) in leaf.sessions:
            await asyncio.sleep(0.01)
    assert await still_answers(call)


_EDIT = (
    "<edit-config><target>{}</target><config><configuration><system><host-name>other</host-name></system>"
    "</configuration></config></edit-config>"
)


@pytest.mark.parametrize("target", ["running", "startup"])
async def test_only_the_candidate_can_be_edited(leaf: VirtualLeaf, call: Wire, target: str) -> None:
    running = etree.tostring(leaf.running)
    assert said(await call(_EDIT.format(f"<{target}/>"))) == ("operation-not-supported", target)
    assert etree.tostring(leaf.candidate) == etree.tostring(leaf.running) == running
    assert not leaf.dirty
    assert (await call(_EDIT.format("<candidate/>"))).find("nc:ok", _IN) is not None
    assert leaf.candidate.findtext("system/host-name") == "other"


async def test_an_edit_without_a_target_is_refused(leaf: VirtualLeaf, call: Wire) -> None:
    assert said(await call(_EDIT.format(""))) == ("missing-element", "target")
    assert not leaf.dirty

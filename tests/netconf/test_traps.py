"""What ncclient and some servers do to who trusts them: each trap on the wire, and how a session gets past it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncssh
import ncclient.transport.session
import pytest
from lxml import etree

from netconf import session as netconf_session
from netconf.desired import Profile
from netconf.errors import OutcomeUnknown, Refused, Unreachable
from netconf.framing import framed
from netconf.owned import NETCONF
from netconf.session import open_session
from netconf.transaction import apply
from service.lab.leaf import VirtualLeaf
from tests.netconf.bad_leaf import CAPABILITIES, Silent, bad_leaf, hello
from tests.netconf.test_session import left_over, threads
from tests.netconf.test_transaction import PORTS, address, leaf_of, port

CHANGE = etree.fromstring("<configuration><system><host-name>leaf2</host-name></system></configuration>")
WARNING = (
    b"<rpc-error><error-severity>warning</error-severity><error-message>statement not found</error-message></rpc-error>"
)
ERROR = b"<rpc-error><error-severity>error</error-severity><error-message>syntax error</error-message></rpc-error>"
XNM = b'<xnm:error xmlns:xnm="http://xml.juniper.net/xnm/1.1/xnm"><message>syntax error</message></xnm:error>'


@pytest.fixture(autouse=True)
async def _no_thread_is_left() -> AsyncIterator[None]:
    before = threads()
    yield
    assert not await left_over(before)


async def test_a_call_waits_for_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """ncclient's thread sends once it has listened for a tick; with an hour of it nothing would ever be sent."""
    monkeypatch.setattr(ncclient.transport.session, "TICK", 3600.0)
    async with bad_leaf() as leaf, asyncio.timeout(60):
        async with open_session(leaf.address) as session:
            for _ in range(20):
                await session.discard_changes()
        assert len(leaf.calls) == 22  # with the hello, and the close


@pytest.mark.parametrize(
    "said",
    [
        b"<commit-results>" + ERROR + b"</commit-results><ok/>",  # an `<ok/>` hides each error from it
        WARNING + ERROR,  # it looks at the first only
        ERROR.replace(b"<rpc-error>", b'<rpc-error xmlns="">'),  # it looks for the namespace
        XNM + b"<ok/>",  # not seen at all
        b"<load-configuration-results><load-error-count>1</load-error-count></load-configuration-results>",
        b"<load-configuration-results/>",  # neither yes nor no
    ],
)
async def test_a_no_is_a_no(said: bytes) -> None:
    async with bad_leaf() as leaf:
        leaf.answers["edit-config"] = said
        async with open_session(leaf.address) as session:
            with pytest.raises(Refused):
                await session.edit_candidate(CHANGE)
            await session.discard_changes()  # and the session goes on


@pytest.mark.parametrize(
    "said",
    [
        b"<load-configuration-results>" + WARNING + b"<load-success/></load-configuration-results>",
        WARNING + b"<ok/>",
        b"<ok/>" + WARNING,
    ],
)
async def test_a_warning_is_no_no(said: bytes) -> None:
    async with bad_leaf() as leaf:
        leaf.answers["edit-config"] = said
        async with open_session(leaf.address) as session:
            await session.edit_candidate(CHANGE)


async def test_a_text_of_more_than_ten_million_characters_is_read() -> None:
    text = b"x" * 10_500_000
    async with bad_leaf() as leaf:
        leaf.answers["get-config"] = b"<data><configuration><banner>" + text + b"</banner></configuration></data>"
        async with open_session(leaf.address) as session:
            configuration = await session.get_config("running")
            assert configuration.findtext(f"{{{NETCONF}}}banner") == text.decode()


@pytest.mark.parametrize("piece", [1, 2, 7])
async def test_a_reply_may_come_in_pieces_that_cut_characters(piece: int) -> None:
    async with bad_leaf() as leaf:
        leaf.piece = piece
        leaf.answers["get-config"] = (
            "<data><configuration><banner>Zürich ≠ 東京 ##\n</banner></configuration></data>".encode()
        )
        async with open_session(leaf.address) as session:
            for _ in range(3):
                configuration = await session.get_config("running")
                assert configuration.findtext(f"{{{NETCONF}}}banner") == "Zürich ≠ 東京 ##\n"


@pytest.mark.parametrize("silent", list(Silent))
async def test_a_leaf_that_falls_silent_while_we_connect_is_unreachable(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netconf_session, "_CONNECT_S", 0.5)
    async with bad_leaf(silent) as leaf, asyncio.timeout(60):
        with pytest.raises(Unreachable, match="did not answer"):
            async with open_session(leaf.address):
                pass


@pytest.mark.parametrize("silent", [Silent.CONNECTED, Silent.LOGGED_IN])
async def test_who_waits_for_a_silent_leaf_can_be_told_to_stop(silent: Silent) -> None:
    async with bad_leaf(silent) as leaf, asyncio.timeout(60):
        waiting = asyncio.create_task(AsyncExitStack().enter_async_context(open_session(leaf.address)))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_session_with_a_leaf_that_froze_can_be_closed() -> None:
    """ncclient's own close gives up on such a leaf before it has closed anything."""
    leaf = await VirtualLeaf.start("leaf1", PORTS[:2], username="rh", password="secret")
    async with asyncio.timeout(60):
        async with open_session(address(leaf)) as session:
            await session.witness()
            leaf.faults.hang = True
        assert not session.alive
    await leaf.stop()


async def test_leaves_that_froze_hold_up_neither_another_leaf_nor_the_rest_of_the_program() -> None:
    """More of them than asyncio's own pool has threads, some while we connect and some in a call."""
    leaf = await VirtualLeaf.start("leaf1", PORTS[:2], username="rh", password="secret")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(leaf.stop)
        waiting: list[asyncio.Task[Any]] = []
        for silent in [*Silent] * 3:
            frozen = await stack.enter_async_context(bad_leaf(silent))
            waiting.append(asyncio.create_task(AsyncExitStack().enter_async_context(open_session(frozen.address))))
        for number in range(20):
            frozen_leaf = await VirtualLeaf.start(f"frozen{number}", PORTS[:1], username="rh", password="secret")
            stack.push_async_callback(frozen_leaf.stop)
            session = await stack.enter_async_context(open_session(address(frozen_leaf)))
            frozen_leaf.faults.hang = True
            waiting.append(asyncio.create_task(session.get_config("running")))
        async with open_session(address(leaf)) as session:
            assert (await apply(session, leaf_of(port(0, Profile.ACTIVE)))).changed
        assert await asyncio.to_thread(lambda: "at once") == "at once"
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*waiting, return_exceptions=True)
        )


async def test_a_session_that_the_leaf_drops_again_and_again_leaves_nothing_behind() -> None:
    async with bad_leaf() as leaf:
        for _ in range(10):
            async with open_session(leaf.address) as session:
                leaf.connections[-1].abort()
                with pytest.raises(Unreachable):
                    for _ in range(1000):
                        await session.discard_changes()


async def test_no_log_has_what_is_in_a_call_or_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    change = etree.fromstring(
        "<configuration><system><root-authentication>$6$hunter2</root-authentication></system></configuration>"
    )
    async with bad_leaf() as leaf:
        leaf.answers["get-config"] = (
            b"<data><configuration><authentication-key>hunter2</authentication-key></configuration></data>"
        )
        async with open_session(leaf.address) as session:
            await session.edit_candidate(change)
            await session.get_config("running")
            leaf.answers["commit"] = b"<not-closed>hunter2"
            with pytest.raises(OutcomeUnknown) as failed:
                await session.rpc(etree.fromstring(f'<commit xmlns="{NETCONF}"/>'), timeout_s=0.5)
    assert leaf.calls
    assert "hunter2" not in caplog.text
    assert "hunter2" not in str(failed.value)


async def test_no_key_is_offered_but_the_leafs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of the home directory nor those of an agent: both go before a password at ncclient."""
    with tempfile.TemporaryDirectory(prefix="rh-") as home:  # short enough for a Unix socket
        key, agent = Path(home) / ".ssh" / "id_ed25519", Path(home) / "agent"
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        key.parent.mkdir()
        # It tries the password as the passphrase of what it finds.
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(key, passphrase="secret")
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(key.with_name("other"))
        key.with_name("other").chmod(0o600)
        running = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", agent)
        try:
            # Its socket is there before anybody listens at it.
            async with asyncio.timeout(60):
                while await (await asyncio.create_subprocess_exec("ssh-add", "-q", key.with_name("other"))).wait():
                    await asyncio.sleep(0.05)
            async with bad_leaf() as leaf, open_session(leaf.address) as session:
                await session.discard_changes()
                assert leaf.keys == []
        finally:
            running.kill()
            await running.wait()


async def test_a_trial_is_asked_for_in_seconds() -> None:
    """Junos' own call would have it in minutes, rounded up, and ncclient makes that of it for Junos."""
    async with bad_leaf() as leaf, open_session(leaf.address) as session:
        await session.commit_confirmed(90, "roundhouse-leaf1")
        call = etree.fromstring(leaf.calls[-1])[0]
    assert call.tag == f"{{{NETCONF}}}commit"
    assert {etree.QName(one).localname: one.text for one in call} == {
        "confirmed": None,
        "confirm-timeout": "90",
        "persist": "roundhouse-leaf1",
    }


async def test_a_leaf_that_offers_1_0_only_is_spoken_to_with_end_marks() -> None:
    async with bad_leaf() as leaf:
        leaf.hello = hello(*(one for one in CAPABILITIES if not one.endswith("base:1.1")))
        async with open_session(leaf.address) as session:
            await session.discard_changes()
            assert session.session_id == "7"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"<hello", id="cut off"),
        pytest.param(b"<goodbye/>", id="no hello"),
        pytest.param(f'<hello xmlns="{NETCONF}"/>'.encode(), id="nothing in it"),
    ],
)
async def test_a_hello_that_is_none_is_no_session(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netconf_session, "_CONNECT_S", 0.5)
    async with bad_leaf() as leaf, asyncio.timeout(60):
        leaf.hello = said
        with pytest.raises(Unreachable):
            async with open_session(leaf.address):
                pass


async def test_an_answer_to_nothing_is_not_taken_for_ours() -> None:
    async with bad_leaf() as leaf, open_session(leaf.address) as session:
        stray = f'<rpc-reply xmlns="{NETCONF}" message-id="nobody"><ok/></rpc-reply>'
        leaf.before = framed(stray.encode(), chunked=True)
        leaf.answers["discard-changes"] = ERROR
        with pytest.raises((Refused, Unreachable)):
            await session.discard_changes()


@pytest.mark.parametrize("said", [b"\n#0\n", b"\n#4294967296\n", b"#5\nhello", b"Connection timed out\n"])
async def test_a_broken_frame_ends_the_session_at_once(said: bytes) -> None:
    async with bad_leaf() as leaf, open_session(leaf.address) as session:
        leaf.before = said
        async with asyncio.timeout(60):
            with pytest.raises(Unreachable):
                await session.discard_changes()
        assert not session.alive

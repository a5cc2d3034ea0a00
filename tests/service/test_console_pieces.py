"""What a console keeps, what is told apart of what is typed, and where a BMC says that its console is."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.power.console import SshConsole, ssh_console
from service.sos.escape import Command, Typed
from service.sos.lines import Line
from service.sos.ring import Ring


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30), st.integers(0, 200), st.integers(1, 50))
def test_a_ring_keeps_the_end_and_says_what_it_lost(pieces: list[bytes], size: int, place: int, limit: int) -> None:
    ring, whole = Ring(size), b"".join(pieces)
    for piece in pieces:
        ring.append(piece)
    start = max(0, len(whole) - size)
    assert (ring.start, ring.end) == (start, len(whole))
    lost, data = ring.read(place, limit)
    assert lost == max(0, start - place)
    assert data == whole[place + lost : place + lost + limit]


async def test_a_console_that_nobody_asked_for_and_that_was_never_had_is_not_kept() -> None:
    line, looked_at = Line(uuid4()), Line(uuid4())
    assert line.vain
    line.ring.append(b"booting")
    looked_at.looked = True
    assert not line.vain
    assert not looked_at.vain


def _typed(pieces: list[bytes]) -> list[bytes | Command]:
    typed, found = Typed(), list[bytes | Command]()
    for piece in pieces:
        for one in typed.read(piece):
            if isinstance(one, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += one
            else:
                found.append(one)
    return found


@given(st.lists(st.sampled_from([b"a", b".", b"t", b"b", b"?", b"]", b"\x1d", b"~", b"\r"])), st.integers(0, 20))
def test_what_is_typed_means_the_same_however_it_is_cut(keys: list[bytes], cut: int) -> None:
    whole = b"".join(keys)
    assert _typed([whole]) == _typed([whole[:cut], whole[cut:]]) == _typed(keys)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (b"ls\r", [b"ls\r"]),
        (b"a\x1d.b", [b"a", Command.LEAVE, b"b"]),
        (b"\x1dt\x1db\x1d?", [Command.TAKE_OVER, Command.BREAK, Command.HELP]),
        (b"\x1d\x1d\x1d]", [b"\x1d\x1d"]),
        (b"a\x1dxb", [b"ab"]),
    ],
    ids=["plain", "leave", "commands", "itself", "unknown"],
)
def test_escapes(keys: bytes, found: list[bytes | Command]) -> None:
    assert _typed([keys]) == found


_SSH = {"ServiceEnabled": True, "Port": 2200}


@pytest.mark.parametrize(
    ("system", "console"),
    [
        ({}, None),
        ({"SerialConsole": None}, None),
        ({"SerialConsole": {"SSH": {"ServiceEnabled": False, "Port": 2200}}}, None),
        ({"SerialConsole": {"IPMI": {"ServiceEnabled": True}}}, None),
        ({"SerialConsole": {"SSH": _SSH}}, SshConsole(2200, None)),
        ({"SerialConsole": {"SSH": {"ServiceEnabled": True}}}, SshConsole(22, None)),
        ({"SerialConsole": {"SSH": {"ServiceEnabled": True, "Port": 99999}}}, SshConsole(22, None)),
        ({"SerialConsole": {"SSH": _SSH | {"ConsoleEntryCommand": "x"}}}, SshConsole(2200, None)),
        (
            {"SerialConsole": {"SSH": _SSH | {"SharedWithManagerCLI": True, "ConsoleEntryCommand": "console com2"}}},
            SshConsole(2200, "console com2"),
        ),
        ({"SerialConsole": {"SSH": _SSH | {"SharedWithManagerCLI": True}}}, None),
        ({"SerialConsole": {"SSH": _SSH | {"SharedWithManagerCLI": True, "ConsoleEntryCommand": "a\rb"}}}, None),
    ],
    ids=range(11),
)
def test_where_a_console_is(system: dict[str, Any], console: SshConsole | None) -> None:
    assert ssh_console(system) == console

"""A process that changes a leaf and is killed, or frozen, in the middle; and the table that outcomes are told in."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from netconf import change as netconf_change
from netconf import connection
from netconf.desired import Leaf
from netconf.session import LeafAddress, open_session
from netconf.transaction import apply_all

TABLE = Path(__file__).parents[2] / "build" / "leaf-faults.md"


class Moment(StrEnum):
    """When it happens. Before a call is sent is after the answer to the one before it."""

    SENT = "when it is sent"
    ANSWERED = "when it is answered"


def change(
    address: LeafAddress, wanted: Leaf, nth: int, moment: Moment, number: signal.Signals, settle_s: float
) -> None:
    """Make the leaf what is wanted, give its ports `settle_s` to settle, and get the signal at the `nth` call."""
    netconf_change._SETTLE_S = settle_s
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    strike(nth, moment, number)
    asyncio.run(_changed(address, wanted))


async def _changed(address: LeafAddress, wanted: Leaf) -> None:
    async with open_session(address) as session:
        await apply_all(session, wanted)


def strike(nth: int, moment: Moment, number: signal.Signals) -> None:
    """Have this process get the signal at the `nth` call to a leaf."""
    sent = answered = 0
    send, answer = connection._Session.send, connection.Connection._answer

    def counted_send(self: Any, message: str) -> None:
        nonlocal sent
        send(self, message)
        if "<nc:rpc" in message or "<rpc" in message:  # and no hello
            sent += 1
            if moment is Moment.SENT and sent == nth:
                os.kill(os.getpid(), number)

    def counted_answer(self: Any, rpc: Any, until: float) -> str:
        nonlocal answered
        text = answer(self, rpc, until)
        answered += 1
        if moment is Moment.ANSWERED and answered == nth:
            os.kill(os.getpid(), number)
        return text

    connection._Session.send = counted_send  # type: ignore[method-assign]
    connection.Connection._answer = counted_answer  # type: ignore[method-assign]


def write_table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Put a table under its heading into the file of outcomes, in place of the one that is there."""
    TABLE.parent.mkdir(exist_ok=True)
    text = TABLE.read_text() if TABLE.exists() else ""
    sections = {
        part.partition("\n")[0]: part for part in text.split("## ") if part.strip() and not part.startswith("|")
    }
    lines = [heading, "", *("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)), ""]
    sections[heading] = "\n".join(lines) + "\n"
    TABLE.write_text("".join(f"## {sections[name]}" for name in sorted(sections)))

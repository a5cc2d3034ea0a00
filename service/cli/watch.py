"""`--watch`: a command again and again, drawn over itself on a terminal, and elsewhere as what has changed."""

from __future__ import annotations

import difflib
import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from time import sleep
from typing import TextIO

from service.cli.client import Unreachable
from service.cli.output import warn

_HOME, _CLEAR_BELOW, _CLEAR_LINE = "\x1b[H", "\x1b[J", "\x1b[K"
_SHORTEST_S = 0.1


def _taken(show: Callable[[], int]) -> tuple[int, str]:
    """The command's status, and what it has printed."""
    paper = io.StringIO()
    with redirect_stdout(paper):
        status = show()
    return status, paper.getvalue()


def drawn(text: str, title: str, columns: int, rows: int) -> str:
    """What a terminal is sent to show the text from its upper left corner, cut to its size."""
    lines = [title, *text.splitlines()]
    if len(lines) > rows:
        lines = [*lines[: rows - 1], f"… {len(lines) - rows + 1} more lines"]
    shown = "\n".join(f"{line[:columns]}{_CLEAR_LINE}" for line in lines)
    return f"{_HOME}{shown}{_CLEAR_BELOW}"


def changes(before: str, after: str) -> list[str]:
    """The lines that went, with `-`, and those that came, with `+`."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [f"{line[0]} {line[1:]}" for line in list(found)[2:] if line[0] in "+-"]


def watch(show: Callable[[], int], every_s: float, name: str, *, as_json: bool) -> int:
    """Show until somebody interrupts it; a service that is away is waited for. The command's status when that is not 0.

    In a pipe the first showing is whole; of JSON every one that differs is a line.
    """
    before: str | None = None
    while True:
        try:
            status, text = _taken(show)
        except Unreachable as away:
            warn(f"roundhouse: {name}: {away}")
            status, text = 0, before or ""
        if status != 0:
            sys.stdout.write(text)
            return status
        _bring(sys.stdout, before, text, name, every_s, as_json=as_json)
        before = text
        sleep(max(every_s, _SHORTEST_S))


def _bring(stream: TextIO, before: str | None, text: str, name: str, every_s: float, *, as_json: bool) -> None:
    if stream.isatty():
        size = shutil.get_terminal_size()
        moment = datetime.now(UTC).strftime("%H:%M:%S UTC")
        stream.write(drawn(text, f"{name}, every {every_s:g} s: {moment}", size.columns, size.lines))
    elif as_json and text != before and text:
        stream.write(json.dumps(json.loads(text), ensure_ascii=False) + "\n")
    elif before is None:
        stream.write(text)
    elif not as_json:
        stream.write("".join(f"{line}\n" for line in changes(before, text)))
    stream.flush()

"""docs/operations.md, command by command as it is written, against a virtual rack of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.store.embedded import binaries
from tests.conftest import database_on

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_BLOCKS = re.compile(r"^```console\n(.*?)^```|^<!-- scene\n(.*?)^-->", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\[exit ([0-9]+)\]")
_END = "--- end of the command: "


@dataclass(slots=True)
class Said:
    """A command of the page, and what of its output the page promises, line by line."""

    command: str
    status: int = 0
    lines: list[str] = field(default_factory=list)


def commands(page: str) -> list[Said]:
    """All commands of the page in their order, those of its hidden scenes included."""
    found: list[Said] = []
    for shown, hidden in _BLOCKS.findall(page):
        for line in (shown or hidden).splitlines():
            if line.startswith("$ "):
                found.append(Said(line[2:]))
            elif match := _EXIT.fullmatch(line.strip()):
                found[-1].status = int(match[1])
            elif line.strip():
                found[-1].lines.append(line)
    return found


def pattern(line: str) -> re.Pattern[str]:
    """What a line of the page stands for: its words with any space between them, and anything where it says …"""
    parts = [r"\s+".join(re.escape(word) for word in part.split()) for part in line.split("…")]
    return re.compile(r"[^\n]*".join(parts))


@dataclass(slots=True)
class Shell:
    """One bash that runs command after command."""

    process: asyncio.subprocess.Process

    async def run(self, command: str) -> tuple[int, str]:
        """Its status, and both outputs together."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{{ {command}\n}} </dev/null 2>&1; status=$?; echo; echo '{_END}'$status\n".encode())
        lines: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), 300)).decode()
            assert line, f"the shell ended in {command}"
            if line.startswith(_END):
                return int(line.removeprefix(_END)), "".join(lines)
            lines.append(line)


@pytest.fixture
async def shell(tmp_path: Path, database_url: str) -> AsyncIterator[Shell]:
    """A shell with the programs of the page, whose roundhouse asks a virtual rack."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "roundhouse"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m service.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    env = os.environ | {
        "PATH": f"{folder}:{binaries()}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ROUNDHOUSE_TOKEN": "secret",
        "ROUNDHOUSE_DATABASE_URL": database_url,
        "RESTORED_DATABASE_URL": database_on(database_url, "restored"),
        "ROUNDHOUSE_STATE_DIR": str(tmp_path / "state"),
        "COLUMNS": "200",
    }
    words = (
        "lab",
        "up",
        "--machines",
        "6",
        "--leaves",
        "2",
        "--commit-seconds",
        "2",
        "--token",
        "secret",
        "--state-dir",
        str(tmp_path / "state"),
    )
    lab = await asyncio.create_subprocess_exec(
        program, *words, "--database-url", database_url, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert lab.stdout is not None
    try:
        env["ROUNDHOUSE_API"] = json.loads(await asyncio.wait_for(lab.stdout.readline(), 300))["api"]
        pipe = asyncio.subprocess.PIPE
        bash = await asyncio.create_subprocess_exec(
            "bash", "--norc", env=env, cwd=tmp_path, stdin=pipe, stdout=pipe, limit=1 << 20
        )
        try:
            yield Shell(bash)
        finally:
            bash.kill()
            await bash.wait()
    finally:
        lab.terminate()
        await lab.wait()


@pytest.mark.timeout(900)
async def test_every_line_of_the_page_works_as_written(shell: Shell) -> None:
    for said in commands(PAGE):
        status, text = await shell.run(said.command)
        assert status == said.status, f"$ {said.command}\n{text}"
        missing = [line for line in said.lines if not pattern(line).search(text)]
        assert not missing, f"$ {said.command}\n{text}\ndoes not say\n" + "\n".join(missing)


def test_a_promise_is_kept_only_by_its_words() -> None:
    assert pattern("a … d").search("x a  b c d") and not pattern("a … d").search("a b\nd")
    assert pattern("state → x").search("state   →  x") and not pattern("a.c").search("abc")

"""Completion in real shells: words of the parser, names from the API, nothing when it does not answer."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from service.cli.completion import candidates
from service.cli.main import parser_for
from tests.service.api_world import TOKEN, World

_BASH = """
source <(roundhouse completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_roundhouse
printf '%s\\n' "${COMPREPLY[@]}"
"""
_ZSH = """
compdef() { :; }
source <(roundhouse completion zsh)
compadd() { for one in $found; do print -r -- $one; done }
_files() { :; }
words=("$@")
CURRENT=$#
_roundhouse
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with `roundhouse` in it, for the PATH."""
    file = tmp_path / "bin" / "roundhouse"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m service.cli.main "$@"\n', encoding="utf-8")
    file.chmod(0o755)
    return file.parent


async def completed(program: Path, url: str, shell: list[str]) -> list[str]:
    env = os.environ | {
        "PATH": f"{program}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "ROUNDHOUSE_API": url,
        "ROUNDHOUSE_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(program.parent / "cache"),
        "HOME": str(program.parent),
    }
    process = await asyncio.create_subprocess_exec(*shell, env=env, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().split()


CASES = [
    (("roundhouse", "ra"), ["rack"]),
    (("roundhouse", "rack", ""), ["add", "list", "put", "remove", "show"]),
    (("roundhouse", "rack", "list", "--f"), ["--facility"]),
    (("roundhouse", "machine", "show", "m1"), ["m1", "m10"]),
    (("roundhouse", "machine", "list", "--leaf", ""), ["leaf-ewr1"]),
    (("roundhouse", "machine", "list", "--state", "x", "--plan", "c3"), ["c3.small.x86"]),
    (("roundhouse", "port", "set", "leaf-ewr1", "xe-0/0/1"), ["xe-0/0/1", "xe-0/0/10"]),
    (("roundhouse", "port", "set", "leaf-ewr1", "xe-0/0/1", "m"), ["maintenance"]),
    (("roundhouse", "device", "delete", "we"), ["web1"]),
    (("roundhouse", "completion", ""), ["bash", "fish", "zsh"]),
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[" ".join(words[1:]) for words, _ in CASES])
async def test_bash_completes(world: World, program: Path, case: int) -> None:
    words, expected = CASES[case]
    await world.add_machines(11)
    await world.order(hostname="web1")
    found = await completed(program, world.url, ["bash", "-c", _BASH, "bash", *words])
    assert sorted(found) == sorted(expected)


async def test_zsh_completes(world: World, program: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs the Debian package zsh")
    await world.add_machines(1)
    for words, expected in ((("roundhouse", "rack", ""), 5), (("roundhouse", "machine", "show", "m"), 1)):
        assert len(await completed(program, world.url, ["zsh", "-c", _ZSH, "zsh", *words])) == expected


async def test_fish_completes(world: World, program: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("needs the Debian package fish")
    await world.add_machines(1)
    for line, expected in (
        ("roundhouse rack ", {"add", "list", "put", "remove", "show"}),
        ("roundhouse machine show m", {"m0"}),
    ):
        script = f"roundhouse completion fish | source; complete -C '{line}'"
        assert expected <= set(await completed(program, world.url, ["fish", "--no-config", "-c", script]))


async def test_names_are_asked_for_once_and_a_service_that_is_away_gives_none(world: World, program: Path) -> None:
    await world.add_machines(1)
    words = ["bash", "-c", _BASH, "bash", "roundhouse", "machine", "show", ""]
    assert await completed(program, world.url, words) == ["m0"]
    await world.db.execute("UPDATE machine SET name = 'renamed'")
    assert await completed(program, world.url, words) == ["m0"]  # kept for half a minute
    assert await completed(program, "http://192.0.2.1:9", words) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([], "", {"device", "serve", "completion"}),
        (["--json"], "de", {"device"}),
        (["--api", "http://x", "plan"], "", {"price", "add"}),
        (["nonsense"], "", set()),
        (["machine", "list", "--watch"], "-", {"--state", "--json"}),
        (["order", "why"], "--", {"--json", "--watch"}),
    ],
)
def test_words_come_from_the_parser(before: list[str], now: str, expected: set[str]) -> None:
    found = set(candidates(parser_for(before), before, now))
    assert expected <= found and bool(found) == bool(expected)

"""Help that reads like a manual: every command and argument has its words, every example is a command, docs/cli.md."""

from __future__ import annotations

import shlex
from argparse import _SubParsersAction
from pathlib import Path

import pytest

from service.cli.main import parser_for
from service.cli.manual import manual, pages
from service.cli.words import EXAMPLES, MEANINGS

ROOT = Path(__file__).parents[2]
PAGES = {" ".join(names) or "roundhouse": parser for names, parser in pages()}
LINES = [line for lines in EXAMPLES.values() for line in lines]


def test_the_document_is_the_parser_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual()


@pytest.mark.parametrize("name", PAGES)
def test_every_command_says_what_it_does_and_what_its_arguments_mean(name: str) -> None:
    parser = PAGES[name]
    assert parser.description and parser.description[0].isupper()
    unsaid = [
        action.option_strings or action.dest
        for action in parser._actions
        if not action.help and not isinstance(action, _SubParsersAction)
    ]
    assert unsaid == []


@pytest.mark.parametrize("line", LINES)
def test_every_example_is_a_command(line: str) -> None:
    program, *words = shlex.split(line.partition(" > ")[0])
    assert program == "roundhouse"
    parser_for(words).parse_args(words)


def test_no_words_are_left_over() -> None:
    named = {
        name
        for parser in PAGES.values()
        for action in parser._actions
        for name in (*action.option_strings, action.dest)
        if action.help == MEANINGS.get(name)
    }
    assert set(MEANINGS) <= named
    assert {" ".join(names) or "roundhouse" for names in EXAMPLES} <= set(PAGES)

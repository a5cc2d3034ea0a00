"""Runs commands of the command line as a person would."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

import pytest

from service.cli.main import main


class Shell:
    """`roundhouse` in this process, with what it said captured."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        """Status, standard output and standard error of one command: of a line, or of its words."""
        try:
            status = await asyncio.to_thread(main, shlex.split(words[0]) if len(words) == 1 else list(words))
        except SystemExit as exit_:  # argparse's own way out
            status = int(str(exit_.code))
        said = self._capture.readouterr()
        return status, said.out, said.err

    async def json(self, line: str) -> Any:
        """What a command that succeeds prints with --json."""
        status, out, err = await self(f"{line} --json")
        assert status == 0, err
        return json.loads(out)

"""What a command of the API is: a noun, a verb, its arguments, and what it does."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from service.cli.client import Client
from service.cli.output import Output


def no_arguments(_parser: ArgumentParser) -> None:
    """For commands that take nothing."""


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE as an argument. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


# Verbs that change nothing, besides `list`.
_LOOKING = {"show", "why", "waterfall", "events", "work", "plans", "neighbors", "discovered", "misplaced", "tenures"}


@dataclass(frozen=True, slots=True)
class Command:
    """One verb of one noun. Its function's docstring is its help; its result is the exit status."""

    noun: str
    verb: str
    run: Callable[[Namespace, Client, Output], int]
    arguments: Callable[[ArgumentParser], None] = no_arguments
    destroys: bool = False

    @property
    def lists(self) -> bool:
        """Whether it prints one table of things, whose columns and order may be chosen."""
        return self.verb == "list"

    @property
    def looks(self) -> bool:
        """Whether it only shows something, and may be watched."""
        return self.lists or self.verb in _LOOKING

"""`python -m service.cli.manual`: docs/cli.md, which is the help of every command."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from service.cli.completion import verbs_of
from service.cli.main import LOCAL, parser_for

_HEAD = """\
# The command line

Made from the parser by `python -m service.cli.manual`; do not edit.

"""


def pages() -> Iterator[tuple[tuple[str, ...], ArgumentParser]]:
    """Every command's names and parser, its own options known."""
    parser = parser_for([])
    yield (), parser
    nouns = verbs_of(parser)
    assert nouns is not None
    for noun, sub in nouns.choices.items():
        verbs = verbs_of(sub)
        if verbs is None:
            yield (noun,), _whole((noun,), sub)
            continue
        yield (noun,), sub
        for verb, command in verbs.choices.items():
            yield (noun, verb), _whole((noun, verb), command)


def _whole(names: tuple[str, ...], sub: ArgumentParser) -> ArgumentParser:
    """The command's parser; that of a command of this process once more, with its options."""
    if names not in LOCAL:
        return sub
    found = parser_for(names)
    for name in names:
        choices = verbs_of(found)
        assert choices is not None
        found = choices.choices[name]
    return found


def manual() -> str:
    """The whole document; the same on terminals of any width."""
    os.environ["COLUMNS"] = "100"
    parts = [_HEAD]
    for names, parser in pages():
        title = f"{'#' * (len(names) + 1)} roundhouse {' '.join(names)}".rstrip()
        only_noun = len(names) == 1 and verbs_of(parser) is not None
        body = parser.description if only_noun else f"```text\n{parser.format_help().rstrip()}\n```"
        parts.append(f"{title}\n\n{body}\n\n" if names else f"{body}\n\n")
    return "".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(manual())

"""How one configuration differs from another, as Junos' `show | compare` tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lxml import etree

from netconf.curly import block, is_line
from netconf.references import Key
from netconf.statements import inner, is_silent, whole, words_of
from netconf.tree import Element, name_of, tag_of, text_of


def compared(old: Mapping[Key, Element], new: Mapping[Key, Element]) -> str:
    """What must be taken from `old` (-) and added to it (+) to come to `new`, below the statement where it stands.

    A `!` marks a term whose contents are the same and whose place among the others is not.
    """
    lines: list[str] = []
    above: tuple[str, ...] = ()
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before is not None and after is not None:
            head = [*key[:-1], key[-1]] if not is_silent(key[-3], key[-2]) else [*key[:-2], key[-1]]
            difference = list(_within(before, after, head))
            if difference:
                above = ()
                lines += difference
            continue
        if key[:-2] != above:
            above = key[:-2]
            lines.append(_edit(above))
        lines += _block(after if after is not None else before, key[-3], "+" if before is None else "-")
    return "".join(f"{line}\n" for line in lines)


def _edit(words: Sequence[str]) -> str:
    return f"[edit {' '.join(words)}]"


def _block(element: Element | None, parent: str, sign: str) -> Iterator[str]:
    """A whole statement with all that is in it, each line with the sign."""
    if element is not None:
        yield from (f"{sign}  {line}" for line in block(element, parent))


def _identity(element: Element, parent: str) -> tuple[str, str, str]:
    """What makes two statements the same one, whose contents may differ; of one that is a line, all of it."""
    tag = tag_of(element)
    if is_line(element, parent):
        return tag, " ".join(whole(element, parent)), ""
    return tag, name_of(element), "" if inner(element) else text_of(element)


def _within(old: Element, new: Element, words: list[str]) -> Iterator[str]:
    """The differences inside one statement, and inside those that it contains."""
    if etree.tostring(old) == etree.tostring(new):
        return
    tag = tag_of(old)
    before = {_identity(child, tag): child for child in inner(old)}
    after = {_identity(child, tag): child for child in inner(new)}
    lines = [line for one, child in before.items() if one not in after for line in _block(child, tag, "-")]
    lines += [line for one, child in after.items() if one not in before for line in _block(child, tag, "+")]
    common = [one for one in before if one in after]
    for was, is_now in zip(common, [one for one in after if one in before], strict=True):
        if was != is_now:
            lines.append(f"!  {' '.join(words_of(after[is_now], tag))} {{ ... }}")
    if lines:
        yield _edit(words)
        yield from lines
    for one in common:
        yield from _within(before[one], after[one], [*words, *words_of(before[one], tag)])

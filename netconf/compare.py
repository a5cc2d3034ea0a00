"""How one configuration differs from another, as Junos' `show | compare` tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lxml import etree

from netconf.owned import Key, is_silent, name_of, quoted, tag_of
from netconf.render import Element

_INDENT = "    "


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


def _words(element: Element, parent: str) -> list[str]:
    """What a statement begins with: its own word, unless Junos leaves it out, and its name."""
    name = name_of(element)
    return [*([] if is_silent(parent, tag_of(element)) else [tag_of(element)]), *([quoted(name)] if name else [])]


def _inner(element: Element) -> list[Element]:
    return [child for child in element if tag_of(child) != "name"]


def _block(element: Element | None, parent: str, sign: str, depth: int = 0) -> Iterator[str]:
    """A whole statement with all that is in it, each line with the sign."""
    if element is None:
        return
    margin = f"{sign}  {_INDENT * depth}"
    words, inner = _words(element, parent), _inner(element)
    if len(inner) == 1 and not len(inner[0]) and is_silent(tag_of(element), tag_of(inner[0])):
        inner, words = [], [*words, quoted((inner[0].text or "").strip())]
    elif not inner and (text := (element.text or "").strip()):
        words = [*words, quoted(text)]
    if not inner:
        yield f"{margin}{' '.join(words)};"
        return
    yield f"{margin}{' '.join(words)} {{"
    for child in inner:
        yield from _block(child, tag_of(element), sign, depth + 1)
    yield f"{margin}}}"


def _identity(element: Element) -> tuple[str, str, str]:
    """What makes two statements the same one, whose contents may differ; for one without contents, all of it."""
    inner = _inner(element)
    return tag_of(element), name_of(element), "" if inner else (element.text or "").strip()


def _within(old: Element, new: Element, words: list[str]) -> Iterator[str]:
    """The differences inside one statement, and inside those that it contains."""
    if etree.tostring(old) == etree.tostring(new):
        return
    tag = tag_of(old)
    before = {_identity(child): child for child in _inner(old)}
    after = {_identity(child): child for child in _inner(new)}
    lines = [line for one, child in before.items() if one not in after for line in _block(child, tag, "-")]
    lines += [line for one, child in after.items() if one not in before for line in _block(child, tag, "+")]
    common = [one for one in before if one in after]
    for was, is_now in zip(common, [one for one in after if one in before], strict=True):
        if was != is_now:
            lines.append(f"!  {' '.join(_words(after[is_now], tag))} {{ ... }}")
    if lines:
        yield _edit(words)
        yield from lines
    for one in common:
        yield from _within(before[one], after[one], [*words, *_words(before[one], tag)])

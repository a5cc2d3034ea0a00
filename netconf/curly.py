"""Configuration in Junos' own text form, as `show configuration` has it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from netconf.statements import inner, is_silent, is_whole, value_of, whole, words_of
from netconf.tree import Element, name_of, tag_of, text_of

_INDENT = "    "
_ONE_LINE = {("group", "local-as"), ("prefix-limit", "teardown"), ("then", "load-balance"), ("ntp", "server")}
# Lists whose entries stand in braces of their own, as parent and child.
_BRACED = {("system", "name-server")} | {
    ("from", f"{side}-{what}") for side in ("source", "destination") for what in ("address", "prefix-list")
}
_OPENED = {"family"}  # said again with each thing in it, not in braces around all of them


def text(configuration: Element) -> str:
    """A whole `<configuration>`, its secrets too."""
    return "".join(f"{line}\n" for line in _body(inner(configuration), "configuration", 0, secrets=True))


def is_line(element: Element, parent: str) -> bool:
    """Whether Junos says a statement and all that is in it in one line."""
    return is_whole(parent, tag_of(element)) or (parent, tag_of(element)) in _ONE_LINE


def block(element: Element, parent: str, depth: int = 0, *, secrets: bool = False) -> Iterator[str]:
    """A statement with all that is in it, line by line; secrets are left unsaid unless they are asked for."""
    margin, tag, contents = _INDENT * depth, tag_of(element), inner(element)
    if tag in _OPENED and contents:
        for child in contents:
            first, *rest = block(child, tag, depth, secrets=secrets)
            yield f"{margin}{tag} {first.lstrip()}"
            yield from rest
        return
    words = words_of(element, parent)
    if is_line(element, parent) or (len(contents) == 1 and not len(contents[0]) and _is_joined(tag, contents[0])):
        contents, words = [], whole(element, parent)
    elif not contents:
        words = [*words, *value_of(element, secrets=secrets)]
    if not contents:
        yield f"{margin}{' '.join(words)};"
        return
    yield f"{margin}{' '.join(words)} {{"
    yield from _body(contents, tag, depth + 1, secrets=secrets)
    yield f"{margin}}}"


def _body(contents: Sequence[Element], parent: str, depth: int, *, secrets: bool) -> Iterator[str]:
    margin = _INDENT * depth
    for tag, group in groupby(contents, tag_of):
        some = list(group)
        if (parent, tag) in _BRACED:
            yield f"{margin}{tag} {{"
            yield from (f"{margin}{_INDENT}{' '.join(whole(one, parent)[1:])};" for one in some)
            yield f"{margin}}}"
        elif len(some) > 1 and all(not len(one) and text_of(one) for one in some):
            values = [word for one in some for word in value_of(one, secrets=secrets)]
            yield f"{margin}{tag} [ {' '.join(values)} ];"
        else:
            for one in some:
                yield from block(one, parent, depth, secrets=secrets)


def _is_joined(parent: str, lone: Element) -> bool:
    """Whether a statement that stands alone in another one stands in its line."""
    if is_silent(parent, tag_of(lone)):
        return not name_of(lone)
    return parent == "then" and not text_of(lone)

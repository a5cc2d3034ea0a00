"""A configuration as Junos shows it in words: its text with braces, `display set`, and `show | compare`. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence

from lxml import etree

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import INACTIVE, OPERATION
from service.lab.leaf.grammar import ROOT, SECRETS, Statement

_INDENT = "    "
_PLAIN = re.compile(r"""[^\s;{}\[\]<>#"'|&()]+""")


def quoted(word: str) -> str:
    """A word as Junos writes it."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _known(element: Element, may: Statement) -> Statement:
    """What the element is; guessed where the grammar does not know it."""
    if (found := may.inner.get(tag_of(element))) is not None:
        return found
    if name_of(element):
        return Statement(tag_of(element), "list")
    if len(element):
        return Statement(tag_of(element))
    return Statement(tag_of(element), "value" if element.text else "flag")


def _inner(element: Element, known: Statement) -> list[Element]:
    return [child for child in element if not (known.kind == "list" and tag_of(child) == known.key)]


def _words(element: Element, known: Statement) -> list[str]:
    """The words that a statement begins with, up to its name or value."""
    words = [] if known.silent else [known.tag]
    if known.kind == "list":
        words.append(quoted(element.findtext(known.key) or ""))
    elif known.kind in ("value", "values") and element.text:
        words.append(f'"{element.text}"' if known.tag in SECRETS else quoted(element.text))
    return words


def _ordered(children: Sequence[Element], known: Statement) -> list[Element]:
    """In the order of the grammar: what is written in one line has a fixed one."""
    order = list(known.inner)
    return sorted(children, key=lambda one: order.index(tag_of(one)) if tag_of(one) in known.inner else len(order))


def _all_words(element: Element, known: Statement) -> list[str]:
    words = _words(element, known)
    for child in _ordered(_inner(element, known), known):
        words += _all_words(child, _known(child, known))
    return words


def text_lines(parent: Element, may: Statement = ROOT) -> Iterator[str]:
    """What stands in an element, as text with braces."""
    done: set[str] = set()
    for child in _inner(parent, may):
        tag = tag_of(child)
        known = _known(child, may)
        if known.line == "&":
            if tag not in done:
                done.add(tag)
                yield f"{tag} {{"
                for one in parent.iterchildren(tag):
                    yield from (_INDENT + line for line in _statement(one, known, [], named=False))
                yield "}"
        elif known.kind == "values":
            if tag not in done:
                done.add(tag)
                values = [quoted(one.text or "") for one in parent if tag_of(one) == tag]
                yield f"{tag} {values[0] if len(values) == 1 else '[ ' + ' '.join(values) + ' ]'};"
        else:
            yield from _statement(child, known, [])


def _is_bare_value(known: Statement) -> bool:
    return known.silent and known.kind == "value"


def _statement(element: Element, known: Statement, before: list[str], *, named: bool = True) -> Iterator[str]:
    inner = _inner(element, known)
    words = [*before, *_words(element, known)[0 if named else 1 :]]
    first = inner[0] if len(inner) == 1 else None
    lone = first is not None and not len(first) and INACTIVE not in first.attrib
    if known.line in (">", "^") or (lone and (known.line == "~" or _is_bare_value(_known(inner[0], known)))):
        inner, words = [], [*before, *_all_words(element, known)]
    if known.line == "+" and inner:
        for child in inner:
            yield from _statement(child, _known(child, known), words)
        return
    mark = "inactive: " if INACTIVE in element.attrib else ""
    if not inner:
        secret = " ## SECRET-DATA" if known.tag in SECRETS else ""
        yield f"{mark}{' '.join(words)};{secret}"
        return
    yield f"{mark}{' '.join(words)} {{"
    yield from (_INDENT + line for line in text_lines(element, known))
    yield "}"


def set_lines(parent: Element, may: Statement = ROOT, before: Sequence[str] = ("set",)) -> Iterator[str]:
    """What stands in an element, as `set` commands; what is deactivated there, by a further command."""
    for child in _inner(parent, may):
        known = _known(child, may)
        here = [*before, *_words(child, known)]
        inner = _inner(child, known)
        if known.line == "^":
            yield " ".join([*before, *_all_words(child, known)])
        elif inner:
            yield from set_lines(child, known, here)
        else:
            yield " ".join(here)
        if INACTIVE in child.attrib:
            yield " ".join(["deactivate", *here[1:]])


def _identity(element: Element, known: Statement) -> tuple[str, str]:
    """What makes two statements the same one, whose contents may differ."""
    if known.kind == "list":
        return known.tag, element.findtext(known.key) or ""
    return known.tag, "" if known.kind == "container" else element.text or ""


def compared(old: Element, new: Element, may: Statement = ROOT, path: Sequence[str] = ("edit",)) -> Iterator[str]:
    """What must be taken from `old` (-) and added to it (+) to come to `new`, below the statement where it stands.

    A `!` marks what has another place among its like, or another effect (`inactive:`).
    """
    before = {_identity(one, _known(one, may)): one for one in _inner(old, may)}
    after = {_identity(one, _known(one, may)): one for one in _inner(new, may)}
    added = {one: child for one, child in after.items() if one not in before}
    lines: list[str] = []
    for one, child in before.items():
        if one not in after:
            lines += _signed("-", child, may)
            # The new value of a statement follows its old one.
            if _known(child, may).kind == "value" and (other := next((it for it in added if it[0] == one[0]), None)):
                lines += _signed("+", added.pop(other), may)
    lines += [line for child in added.values() for line in _signed("+", child, may)]
    for was, is_now in zip(
        (one for one in before if one in after), (one for one in after if one in before), strict=True
    ):
        turned = (INACTIVE in before[is_now].attrib) != (INACTIVE in after[is_now].attrib)
        if turned or (was != is_now and is_now[0] == "term"):
            words = " ".join(_words(after[is_now], _known(after[is_now], may)))
            mark = ("inactive: " if INACTIVE in after[is_now].attrib else "active: ") if turned else ""
            lines.append(f"!   {mark}{words} {{ ... }}")
    if lines:
        yield f"[{' '.join(path)}]"
        yield from lines
    for one, child in before.items():
        if one in after and etree.tostring(child) != etree.tostring(after[one]):
            known = _known(child, may)
            if known.kind in ("container", "list"):
                yield from compared(child, after[one], known, [*path, *_words(child, known)])


def _signed(sign: str, element: Element, may: Statement) -> Iterator[str]:
    known = _known(element, may)
    margin = f"{sign}   " if known.kind in ("container", "list") else f"{sign}  "
    yield from (margin + line for line in _statement(element, known, []))


def delta(old: Element, new: Element, may: Statement = ROOT) -> Element | None:
    """The edit that makes `new` of `old`, with RFC 6241's operations; None if they are the same."""
    made = etree.Element(old.tag)
    if may.kind == "list" and (key := old.find(may.key)) is not None:
        etree.SubElement(made, may.key).text = key.text
    nothing = len(made)
    before = {_identity(one, _known(one, may)): one for one in _inner(old, may)}
    after = {_identity(one, _known(one, may)): one for one in _inner(new, may)}
    for one, child in before.items():
        if one not in after:
            made.append(_operated(child, _known(child, may), "delete"))
    for one, child in after.items():
        known = _known(child, may)
        if one not in before:
            made.append(_operated(child, known, "create"))
        elif before[one].get(INACTIVE) != child.get(INACTIVE) or _reordered(before[one], child):
            made.append(_operated(child, known, "replace"))
        elif (inner := delta(before[one], child, known)) is not None:
            made.append(inner)
    return made if len(made) > nothing else None


def _reordered(old: Element, new: Element) -> bool:
    """Whether the terms are in another order than if new ones came behind those that stay."""
    before, after = ([name_of(one) for one in parent.iterfind("term")] for parent in (old, new))
    return [one for one in before if one in after] + [one for one in after if one not in before] != after


def _operated(element: Element, known: Statement, operation: str) -> Element:
    if operation == "delete" and len(element):
        made = etree.Element(element.tag)
        if known.kind == "list":
            etree.SubElement(made, known.key).text = element.findtext(known.key)
    else:
        made = copy.deepcopy(element)
    made.set(OPERATION, operation)
    return made

"""Objects of a configuration in the words of Junos' `set` statements. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from netconf.references import Key
from netconf.tree import Element, key_of, name_of, tag_of, text_of

# What statements leave out, as parent and child.
_SILENT = {
    ("interfaces", "interface"),
    ("prefix-list", "prefix-list-item"),
    ("server-group", "server-group"),
    ("server-group", "address"),
    ("active-server-group", "active-server-group"),
    ("input", "filter-name"),
    ("tag", "metric-value"),
    ("community", "community-name"),
    ("local-as", "as-number"),
    ("autonomous-system", "as-number"),
    ("idle-timeout", "timeout"),
    ("routing-instances", "instance"),
}
# What is said in one statement with all that is in it, as parent and child.
_WHOLE = {("from", "prefix-list-filter"), ("from", "route-filter"), ("then", "community")}
_DONE = {"add", "delete", "set"}
_SECRET = {"authentication-key", "encrypted-password"}
_UNSAID = '"## SECRET-DATA"'
_TO_QUOTE = frozenset(" ;{}[]<>#\"'|&()$")


def is_silent(parent: str, tag: str) -> bool:
    """Whether Junos leaves the tag out where it writes statements as words."""
    return (parent, tag) in _SILENT


def is_whole(parent: str, tag: str) -> bool:
    """Whether Junos says a statement and all that is in it in one line."""
    return (parent, tag) in _WHOLE


def quoted(text: str) -> str:
    """A word as Junos writes it."""
    if not _TO_QUOTE.intersection(text):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def value_of(element: Element, *, secrets: bool = False) -> list[str]:
    """What a statement without others inside says, as a word or none; of a secret as a rule only that it is one."""
    text = text_of(element)
    if tag_of(element) in _SECRET and text and not secrets:
        return [_UNSAID]
    return [quoted(text)] if text else []


def inner(element: Element) -> list[Element]:
    """What stands in a statement beside its name."""
    return [child for child in element if tag_of(child) != key_of(tag_of(element))]


def words_of(element: Element, parent: str) -> list[str]:
    """What a statement begins with: its own word, unless Junos leaves it out, and its name."""
    name = name_of(element)
    return [*([] if is_silent(parent, tag_of(element)) else [tag_of(element)]), *([quoted(name)] if name else [])]


def whole(element: Element, parent: str) -> list[str]:
    """All the words of a statement that stands in one line: what is done, values, flags."""
    tag = tag_of(element)
    said = sorted(inner(element), key=lambda child: (tag_of(child) not in _DONE, not text_of(child)))
    return [*words_of(element, parent), *value_of(element), *(word for child in said for word in whole(child, tag))]


def set_lines(objects: Mapping[Key, Element]) -> list[str]:
    """The objects as Junos `set` statements, sorted by object. Secrets are left unsaid."""
    return [line for key in sorted(objects) for line in statements(key, objects[key])]


def configuration_lines(configuration: Element) -> list[str]:
    """A whole `<configuration>` as Junos `set` statements, in its own order. Secrets are left unsaid."""
    return [line for child in configuration for line in _statements(child, ["set"], tag_of(configuration))]


def statements(key: Key, element: Element) -> list[str]:
    """One object, in its place, as Junos `set` statements."""
    above = key[:-2]
    return list(_statements(element, ["set", *above], above[-1]))


def _statements(element: Element, words: Sequence[str], parent: str) -> Iterator[str]:
    tag = tag_of(element)
    if is_whole(parent, tag):
        yield " ".join([*words, *whole(element, parent)])
        return
    here = [*words, *words_of(element, parent)]
    children = inner(element)
    if not children:
        yield " ".join([*here, *value_of(element)])
        return
    for child in children:
        yield from _statements(child, here, tag)

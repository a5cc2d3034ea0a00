"""Which objects of a configuration are ours, how they are compared, and how they read as `set` statements. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from lxml import etree

from netconf.render import OWNER, ROUTE_TAG, Element

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
Key = tuple[str, ...]

# Where our objects stand: the path from `<configuration>` to their list; a list entry on the way is tag and name.
_PLACES: tuple[tuple[str, ...], ...] = (
    ("interfaces", "interface"),
    ("forwarding-options", "dhcp-relay", "server-group", "server-group"),
    ("forwarding-options", "dhcp-relay", "group"),
    ("protocols", "router-advertisement", "interface"),
    ("policy-options", "prefix-list"),
    ("firewall", "family", "inet", "filter"),
    ("firewall", "family", "inet6", "filter"),
    ("routing-options", "static", "route"),
    ("routing-options", "rib inet6.0", "static", "route"),
)
_ORDERED = {"term"}  # the order of a filter's terms is its meaning
# What `set` statements leave out, as parent and child.
_SILENT = {
    ("interfaces", "interface"),
    ("prefix-list", "prefix-list-item"),
    ("server-group", "server-group"),
    ("server-group", "address"),
    ("active-server-group", "active-server-group"),
    ("input", "filter-name"),
    ("tag", "metric-value"),
}


def is_silent(parent: str, tag: str) -> bool:
    """Whether Junos leaves the tag out where it writes statements as words."""
    return (parent, tag) in _SILENT


def tag_of(element: Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _child(element: Element, tag: str) -> Element | None:
    return next((child for child in element if isinstance(child.tag, str) and tag_of(child) == tag), None)


def name_of(element: Element) -> str:
    """The list key of an entry, or nothing."""
    name = _child(element, "name")
    return "" if name is None else (name.text or "").strip()


def plain(element: Element) -> Element:
    """A copy without namespaces, attributes, comments and white space, with its children in one order.

    A device may write the same configuration in many ways; two that mean the same become equal here.
    """
    made = etree.Element(tag_of(element))
    children = [plain(child) for child in element if isinstance(child.tag, str)]
    if not children:
        made.text = (element.text or "").strip() or None
    names = [child for child in children if child.tag == "name"]
    rest = [child for child in children if child.tag != "name" and child.tag not in _ORDERED]
    ordered = [child for child in children if child.tag in _ORDERED]
    rest.sort(key=lambda child: (child.tag, child.findtext("name") or "", child.text or ""))
    made.extend([*names, *rest, *ordered])
    return made


def _is(element: Element, step: str) -> bool:
    """Whether the element is one step of a place: the tag, and the name where the step says one."""
    tag, _, name = step.partition(" ")
    return isinstance(element.tag, str) and tag_of(element) == tag and name in ("", name_of(element))


def _entries(root: Element, place: tuple[str, ...]) -> Iterator[Element]:
    found = [root]
    for step in place:
        found = [child for parent in found for child in parent if _is(child, step)]
    yield from found


def _tag_value(route: Element) -> str:
    tag = _child(route, "tag")
    value = None if tag is None else _child(tag, "metric-value")
    return "" if value is None else (value.text or "").strip()


def owned_objects(configuration: Element) -> dict[Key, Element]:
    """Our objects by place and name, in plain form."""
    found: dict[Key, Element] = {}
    ports = set()
    for place in _PLACES:
        for entry in _entries(configuration, place):
            name = name_of(entry)
            if place == ("interfaces", "interface"):
                description = _child(entry, "description")
                ours = description is not None and (description.text or "").strip().startswith(f"{OWNER} ")
                if ours:
                    ports.add(f"{name}.0")
            elif place[-1] == "interface":
                ours = name in ports
            elif place[-1] == "route":
                ours = _tag_value(entry) == ROUTE_TAG
            else:
                ours = name == OWNER or name.startswith((f"{OWNER}4-", f"{OWNER}6-"))
            if ours:
                found[(*place, name)] = plain(entry)
    return found


def edit(wanted: Mapping[Key, Element], running: Mapping[Key, Element]) -> Element | None:
    """The smallest `<configuration>` that turns what is running into what is wanted; None when nothing differs.

    Each object that differs is replaced as a whole, each that is ours and not wanted is deleted (RFC 6241 §7.2).
    """
    root = etree.Element("configuration", nsmap={"nc": NETCONF})
    for key in sorted(wanted.keys() | running.keys()):
        new, old = wanted.get(key), running.get(key)
        if new is not None and old is not None and etree.tostring(new) == etree.tostring(old):
            continue
        parent = root
        for step in key[:-2]:
            found = next((child for child in parent if _is(child, step)), None)
            parent = _made(parent, step) if found is None else found
        if new is not None:
            entry = copy.deepcopy(new)
            entry.set(f"{{{NETCONF}}}operation", "replace")
        else:
            entry = etree.Element(key[-2])
            etree.SubElement(entry, "name").text = key[-1]
            entry.set(f"{{{NETCONF}}}operation", "delete")
        parent.append(entry)
    return root if len(root) else None


def _made(parent: Element, step: str) -> Element:
    tag, _, name = step.partition(" ")
    made = etree.SubElement(parent, tag)
    if name:
        etree.SubElement(made, "name").text = name
    return made


def set_lines(objects: Mapping[Key, Element]) -> list[str]:
    """The objects as Junos `set` statements, sorted by object."""
    lines: list[str] = []
    for key in sorted(objects):
        above = key[:-2]
        lines.extend(_statements(objects[key], ["set", *above], above[-1]))
    return lines


def _statements(element: Element, words: list[str], parent: str) -> Iterator[str]:
    tag = tag_of(element)
    here = words if is_silent(parent, tag) else [*words, tag]
    if name := name_of(element):
        here = [*here, quoted(name)]
    children = [child for child in element if tag_of(child) != "name"]
    if not children:
        text = (element.text or "").strip()
        yield " ".join([*here, quoted(text)] if text else here)
        return
    for child in children:
        yield from _statements(child, here, tag)


def quoted(text: str) -> str:
    """A word as Junos writes it."""
    return f'"{text}"' if " " in text else text

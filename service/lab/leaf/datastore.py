"""Editing and filtering configuration trees (RFC 6241 §6, §7.2). Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from lxml import etree

from netconf.owned import NETCONF, name_of, tag_of
from netconf.render import Element

_OPERATION = f"{{{NETCONF}}}operation"
INACTIVE = "inactive"  # Junos' attribute of a statement that is kept and has no effect
_LEAF_LISTS = {"permissions", "export", "import", "protocol", "destination-port", "members", "next-hop"}


class EditError(Exception):
    """The call is not allowed; `tag` is the RFC 6241 appendix A error-tag, `bad_element` the parameter at fault.

    `layer` is RFC 6241's error-type, `session` the one that stands in the way; `others` are more errors of the call.
    """

    def __init__(
        self,
        tag: str,
        message: str,
        path: str = "",
        *,
        bad_element: str = "",
        layer: str = "application",
        session: int | None = None,
        others: tuple[EditError, ...] = (),
    ) -> None:
        super().__init__(message)
        self.tag = tag
        self.message = message
        self.path = path
        self.bad_element = bad_element
        self.layer = layer
        self.session = session
        self.others = others


def without_namespaces(element: Element) -> Element:
    """A copy in no namespace, as Junos keeps its configuration; the operation attribute stays."""
    made = etree.Element(tag_of(element))
    if (operation := element.get(_OPERATION)) is not None:
        made.set(_OPERATION, operation)
    if element.get(INACTIVE) is not None:
        made.set(INACTIVE, INACTIVE)
    made.text = (element.text or "").strip() or None
    made.extend(without_namespaces(child) for child in element if isinstance(child.tag, str))
    if len(made):
        made.text = None
    return made


def active(parent: Element, path: str) -> list[Element]:
    """What stands below an element at a path ("family/*"), without what is deactivated, or stands in what is."""
    found = [parent]
    for step in path.split("/"):
        found = [
            child
            for one in found
            for child in one
            if step in (child.tag, "*") and child.get(INACTIVE) is None and isinstance(child.tag, str)
        ]
    return found


def _matches(one: Element, other: Element) -> bool:
    if one.tag != other.tag:
        return False
    if name_of(one) or name_of(other):
        return name_of(one) == name_of(other)
    return tag_of(one) not in _LEAF_LISTS or one.text == other.text


def apply_edit(target: Element, edit: Element, default: str = "merge") -> None:
    """Change `target`, a `<configuration>`, by `edit`. Raises EditError; the target is then to be thrown away."""
    for child in edit:
        _apply(target, child, default)


def _apply(parent: Element, edit: Element, inherited: str) -> None:
    operation = edit.get(_OPERATION, inherited)
    there = next((child for child in parent if _matches(child, edit)), None)
    match operation:
        case "delete" if there is None:
            raise EditError("data-missing", "statement not found", path_of(parent, edit))
        case "create" if there is not None:
            raise EditError("data-exists", "statement exists already", path_of(parent, edit))
        case "delete" | "remove":
            if there is not None:
                parent.remove(there)
        case "replace":
            fresh = _bare(edit)
            if there is None:
                parent.append(fresh)
            else:
                parent.replace(there, fresh)
        case "merge" | "create" | "none":
            if there is None:
                there = etree.SubElement(parent, edit.tag)
            if not len(edit):
                there.text = edit.text
            for child in edit:
                _apply(there, child, "merge" if operation == "create" else operation)
        case _:
            raise EditError("bad-attribute", f"unknown operation {operation!r}", path_of(parent, edit))
    _prune(parent)


def _bare(edit: Element) -> Element:
    made = copy.deepcopy(edit)
    for element in made.iter():
        if _OPERATION in element.attrib:
            del element.attrib[_OPERATION]
    etree.cleanup_namespaces(made)
    return made


def _prune(element: Element) -> None:
    """A container that an edit left empty goes away, as it does on Junos."""
    for child in list(element):
        if not len(child) and not child.text and tag_of(child) in _CONTAINERS:
            element.remove(child)


_CONTAINERS = {
    "interfaces",
    "policy-options",
    "firewall",
    "family",
    "inet",
    "inet6",
    "protocols",
    "router-advertisement",
    "lldp",
    "bgp",
    "forwarding-options",
    "dhcp-relay",
    "server-group",
}


def path_of(parent: Element, element: Element) -> str:
    """Where the element stands, as an error-path says it."""
    words = [tag_of(one) + (f"[{name_of(one)}]" if name_of(one) else "") for one in parent.iterancestors()]
    words = [*reversed(words), tag_of(parent), tag_of(element) + (f"[{name_of(element)}]" if name_of(element) else "")]
    return "/" + "/".join(words)


def filtered(configuration: Element, wanted: Sequence[Element]) -> Element | None:
    """What a subtree filter selects (RFC 6241 §6); one without anything in it selects nothing."""
    made: Element | None = None
    for one in wanted:
        if (found := _selected(configuration, one)) is not None:
            if made is None:
                made = found
            else:
                apply_edit(made, found)
    return made


def _selected(element: Element, wanted: Element) -> Element | None:
    if tag_of(element) != tag_of(wanted):
        return None
    if not len(wanted):
        text = (wanted.text or "").strip()
        return copy.deepcopy(element) if not text or text == (element.text or "").strip() else None
    content = [one for one in wanted if not len(one) and (one.text or "").strip()]
    for match in content:
        if not any(_selected(child, match) is not None for child in element):
            return None
    inner = [one for one in wanted if one not in content]
    if not inner:
        return copy.deepcopy(element)
    made = etree.Element(element.tag)
    made.extend(copy.deepcopy(child) for child in element if tag_of(child) == "name")
    for child in element:
        if tag_of(child) != "name":
            made.extend(found for one in inner if (found := _selected(child, one)) is not None)
    return made if len(made) else None

"""Editing and filtering configuration trees (RFC 6241 §6, §7.2), and what a leaf checks before it commits. Pure."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_interface

from lxml import etree

from netconf.owned import NETCONF, name_of, tag_of
from netconf.render import Element

_OPERATION = f"{{{NETCONF}}}operation"
_LEAF_LISTS = {"permissions", "export", "import", "protocol", "destination-port", "members", "next-hop"}


class EditError(Exception):
    """The call is not allowed; `tag` is the RFC 6241 appendix A error-tag, `bad_element` the parameter at fault.

    `others` are more errors of the same call.
    """

    def __init__(
        self, tag: str, message: str, path: str = "", *, bad_element: str = "", others: tuple[EditError, ...] = ()
    ) -> None:
        super().__init__(message)
        self.tag = tag
        self.message = message
        self.path = path
        self.bad_element = bad_element
        self.others = others


def without_namespaces(element: Element) -> Element:
    """A copy in no namespace, as Junos keeps its configuration; the operation attribute stays."""
    made = etree.Element(tag_of(element))
    if (operation := element.get(_OPERATION)) is not None:
        made.set(_OPERATION, operation)
    made.text = (element.text or "").strip() or None
    made.extend(without_namespaces(child) for child in element if isinstance(child.tag, str))
    if len(made):
        made.text = None
    return made


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
    "forwarding-options",
    "dhcp-relay",
    "server-group",
}


def path_of(parent: Element, element: Element) -> str:
    """Where the element stands, as an error-path says it."""
    words = [tag_of(one) + (f"[{name_of(one)}]" if name_of(one) else "") for one in parent.iterancestors()]
    words = [*reversed(words), tag_of(parent), tag_of(element) + (f"[{name_of(element)}]" if name_of(element) else "")]
    return "/" + "/".join(words)


def filtered(configuration: Element, wanted: Element | None) -> Element:
    """What a subtree filter selects (RFC 6241 §6); None selects everything."""
    if wanted is None:
        return copy.deepcopy(configuration)
    return _selected(configuration, wanted) or etree.Element("configuration")


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


def check(configuration: Element) -> None:
    """What the leaf's commit looks at. Raises EditError with the path."""
    _check_addresses(configuration)
    _check_references(configuration)


def _addresses(configuration: Element) -> Iterator[tuple[Element, str]]:
    for interface in configuration.findall("interfaces/interface"):
        for address in interface.findall("unit/family/*/address"):
            yield interface, name_of(address)


def _check_addresses(configuration: Element) -> None:
    seen: dict[str, str] = {}
    for interface, text in _addresses(configuration):
        try:
            address = ip_interface(text)
        except ValueError:
            raise EditError("invalid-value", f"invalid address {text!r}", f"/interfaces/{name_of(interface)}") from None
        other = seen.setdefault(str(address.ip), name_of(interface))
        if other != name_of(interface):
            message = f"address {address.ip} is on {other} already"
            raise EditError("invalid-value", message, f"/interfaces/{name_of(interface)}")


def _check_references(configuration: Element) -> None:
    lists = Counter(name_of(one) for one in configuration.findall("policy-options/prefix-list"))
    for family in ("inet", "inet6"):
        filters = {name_of(one) for one in configuration.findall(f"firewall/family/{family}/filter")}
        for used in configuration.findall(f"interfaces/interface/unit/family/{family}/filter/input/filter-name"):
            if used.text not in filters:
                raise EditError("invalid-value", f"filter {used.text!r} is not defined", "/interfaces")
        for used in configuration.findall(f"firewall/family/{family}/filter/term/from/source-prefix-list"):
            if name_of(used) not in lists:
                raise EditError("invalid-value", f"prefix-list {name_of(used)!r} is not defined", "/firewall")

"""Editing and filtering configuration trees (RFC 6241 §6, §7.2). Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from lxml import etree

from netconf.owned import NETCONF, name_of, tag_of
from netconf.render import Element
from netconf.tree import key_of
from service.lab.leaf.grammar import ROOT, SEVERAL, Statement

OPERATION = f"{{{NETCONF}}}operation"
INACTIVE = "inactive"  # Junos' attribute of a statement that is kept and has no effect
_ACTIVE = "active"  # and of one that is to have effect again


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
    """A copy in no namespace, as Junos keeps its configuration, with what is to be done with it.

    That is said by RFC 6241's attribute, or by Junos' own (`delete="delete"`).
    """
    made = etree.Element(tag_of(element))
    if (operation := element.get(OPERATION) or element.get("operation")) is not None:
        made.set(OPERATION, operation)
    for word in ("delete", "replace"):
        if element.get(word) == word:
            made.set(OPERATION, word)
    for word in (INACTIVE, _ACTIVE):
        if element.get(word) is not None:
            made.set(word, word)
    made.text = (element.text or "").strip() or None
    made.extend(without_namespaces(child) for child in element if isinstance(child.tag, str))
    if len(made):
        made.text = None
    return made


def active(parent: Element, path: str) -> list[Element]:
    """What stands below an element at a path ("family/*"), without what is deactivated, or stands in what is."""
    found = [parent]
    for step in path.split("/"):
        found = [child for one in found for child in one.iterchildren(step) if child.get(INACTIVE) is None]
    return found


def _same_in(parent: Element, edit: Element) -> Element | None:
    """What stands there already of that name, or with that value where a statement may come several times."""
    key = key_of(tag_of(edit))
    name = edit.findtext(key)
    for child in parent.iterchildren(edit.tag):
        if child.findtext(key) == name and (name or tag_of(edit) not in SEVERAL or child.text == edit.text):
            return child
    return None


def apply_edit(target: Element, edit: Element, default: str = "merge", missing: list[EditError] | None = None) -> None:
    """Change `target`, a `<configuration>`, by `edit`. Raises EditError; the target is then to be thrown away.

    With `missing`, what is to be deleted and is not there is put in it instead of being an error.
    """
    if edit.get(OPERATION) in ("replace", "delete", "remove"):
        del target[:]
        if edit.get(OPERATION) != "replace":
            return
    for child in list(edit):
        _apply(target, child, default, ROOT, missing)


def _apply(
    parent: Element, edit: Element, inherited: str, place: Statement | None, missing: list[EditError] | None
) -> None:
    operation = edit.get(OPERATION, inherited)
    known = None if place is None else place.inner.get(tag_of(edit))
    there = _same_in(parent, edit)
    match operation:
        case "delete" if there is None and missing is not None:
            missing.append(_error(parent, edit, "operation-failed", "statement not found"))
            return
        case "delete" if there is None:
            raise _error(parent, edit, "data-missing", "statement not found")
        case "create" if there is not None:
            raise _error(parent, edit, "data-exists", "statement exists already")
        case "delete" | "remove":
            if there is not None:
                parent.remove(there)
            return
        case "replace":
            fresh = _bare(edit)
            _empty(fresh, known)
            if there is None:
                parent.append(fresh)
            else:
                parent.replace(there, fresh)
            there = fresh
        case "merge" | "create" | "none":
            if there is None:
                there = etree.SubElement(parent, edit.tag)
            if not len(edit) and not len(there):
                there.text = edit.text
            for child in edit:
                _apply(there, child, "merge" if operation == "create" else operation, known, missing)
        case _:
            raise _error(parent, edit, "bad-attribute", f"unknown operation {operation!r}")
    if edit.get(INACTIVE) is not None:
        there.set(INACTIVE, INACTIVE)
    elif edit.get(_ACTIVE) is not None and INACTIVE in there.attrib:
        del there.attrib[INACTIVE]
    if _means_nothing(there, known):
        parent.remove(there)


def _bare(edit: Element) -> Element:
    made = copy.deepcopy(edit)
    for element in made.iter():
        for name in (OPERATION, _ACTIVE):
            if name in element.attrib:
                del element.attrib[name]
    etree.cleanup_namespaces(made)
    return made


def _empty(element: Element, known: Statement | None) -> None:
    """Take out what means nothing because there is nothing in it."""
    for child in list(element):
        inner = None if known is None else known.inner.get(tag_of(child))
        _empty(child, inner)
        if _means_nothing(child, inner):
            element.remove(child)


def _means_nothing(element: Element, known: Statement | None) -> bool:
    """Whether it is a container that goes away once it is empty."""
    return known is not None and known.kind == "container" and not known.present and not len(element)


def path_of(parent: Element) -> str:
    """Where an element stands, as Junos says it: "[edit interfaces xe-0/0/0 unit 0]"."""
    words, place = ["edit"], ROOT
    for one in [*reversed(list(parent.iterancestors())), parent][1:]:
        known = place.inner.get(tag_of(one))
        if known is None or not known.silent:
            words.append(tag_of(one))
        if name := name_of(one):
            words.append(name)
        place = known or Statement(tag_of(one))
    return f"[{' '.join(words)}]"


def _error(parent: Element, edit: Element, tag: str, message: str) -> EditError:
    return EditError(tag, message, path_of(parent), bad_element=name_of(edit) or tag_of(edit))


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

"""Elements of a configuration, made and read. Pure."""

from __future__ import annotations

from lxml import etree

Element = etree._Element

# Lists whose key is not called `name`.
_KEY = {"prefix-list-filter": "list_name", "route-filter": "address"}


def add(parent: Element, tag: str, text: str | None = None) -> Element:
    """A new last child."""
    child = etree.SubElement(parent, tag)
    child.text = text
    return child


def path(parent: Element, *tags: str) -> Element:
    """New elements one inside the other; the innermost."""
    for tag in tags:
        parent = add(parent, tag)
    return parent


def named(parent: Element, tag: str, name: str) -> Element:
    """A new list entry."""
    child = add(parent, tag)
    add(child, key_of(tag), name)
    return child


def tag_of(element: Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def key_of(tag: str) -> str:
    """What the key of a list with this tag is called."""
    return _KEY.get(tag, "name")


def child_of(element: Element, tag: str) -> Element | None:
    """The first child of that name, in whatever namespace."""
    return next(element.iterchildren(f"{{*}}{tag}"), None)


def text_of(element: Element | None) -> str:
    """The text that an element holds, without white space around it."""
    return "" if element is None else (element.text or "").strip()


def name_of(element: Element) -> str:
    """The list key of an entry, or nothing."""
    return text_of(child_of(element, key_of(tag_of(element))))

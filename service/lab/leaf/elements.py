"""Elements as Junos' replies have them. Pure.

They are made without namespaces; one is put on as an attribute where Junos changes the default one, and whoever parses
the reply finds every element below in it.
"""

from __future__ import annotations

from lxml import etree

from netconf.render import Element
from service.lab.leaf.message import JUNOS

XNM = "http://xml.juniper.net/xnm/1.1/xnm"  # of configuration, as Junos shows it


def ok() -> Element:
    """The plain yes."""
    return etree.Element("ok")


def information(tag: str, area: str) -> Element:
    """The root of an operational answer; `area` is the daemon's, "interface" or "routing"."""
    made = etree.Element(tag)
    made.set("xmlns", f"{JUNOS}-{area}")
    return made


def said(parent: Element, tag: str, text: str | int | None = None, **attributes: str) -> Element:
    """An element with `text` on a line of its own, as Junos' daemons write it, and attributes in Junos' namespace."""
    made = etree.SubElement(parent, tag)
    if text is not None:
        made.text = f"\n{text}\n"
    for name, value in attributes.items():
        made.set(f"{{{JUNOS}}}{name}", value)
    return made


def shown(configuration: Element, **attributes: str) -> Element:
    """The configuration as Junos hands it out. Changes the element."""
    configuration.set("xmlns", XNM)
    for name, value in attributes.items():
        configuration.set(f"{{{JUNOS}}}{name.replace('_', '-')}", value)
    return configuration

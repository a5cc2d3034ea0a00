"""Which objects of a configuration are ours, how they are compared, and how one becomes another. Pure."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from lxml import etree

from netconf.desired import Exemption, Leaf, Port
from netconf.filters import reach
from netconf.names import ROUTE_TAG, describes_ours, is_ours
from netconf.references import Key, referred
from netconf.render import of_port, shared
from netconf.secret9 import normal
from netconf.statements import is_silent, quoted, set_lines, statements
from netconf.tree import Element, child_of, key_of, name_of, tag_of, text_of

__all__ = [
    "NETCONF",
    "Key",
    "desired_objects",
    "differing",
    "digest",
    "edit",
    "foreign_ports",
    "from_xml",
    "is_silent",
    "name_of",
    "owned_objects",
    "plain",
    "quoted",
    "relevant",
    "rendered_objects",
    "set_lines",
    "standing",
    "tag_of",
    "to_xml",
]

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"

_INTERFACE = ("interfaces", "interface")
# What is ours because the interface is.
_OF_INTERFACE = (("protocols", "router-advertisement", "interface"), ("protocols", "lldp", "interface"))
_ROUTES = (("routing-options", "static", "route"), ("routing-options", "rib inet6.0", "static", "route"))
# Where our objects stand: the path from `<configuration>` to their list; a list entry on the way is tag and name.
_PLACES: tuple[tuple[str, ...], ...] = (
    _INTERFACE,
    *_OF_INTERFACE,
    ("forwarding-options", "dhcp-relay", "server-group", "server-group"),
    ("forwarding-options", "dhcp-relay", "group"),
    ("forwarding-options", "dhcp-relay", "dhcpv6", "server-group", "server-group"),
    ("forwarding-options", "dhcp-relay", "dhcpv6", "group"),
    ("protocols", "bgp", "group"),
    ("policy-options", "prefix-list"),
    ("policy-options", "policy-statement"),
    ("policy-options", "community"),
    ("firewall", "family", "inet", "filter"),
    ("firewall", "family", "inet6", "filter"),
    ("firewall", "policer"),
    *_ROUTES,
)
_ORDERED = {"term"}  # the order of a filter's or a policy's terms is its meaning
_SECRET = {"authentication-key"}


def plain(element: Element) -> Element:
    """A copy without namespaces, attributes, comments and white space, with its children in one order.

    A device may write the same configuration in many ways; two that mean the same become equal here. What is
    deactivated is not there, and a secret is written in one of the many ways there are (`secret9`).
    """
    tag = tag_of(element)
    made = etree.Element(tag)
    children = [plain(child) for child in element if _in_force(child)]
    if not children:
        text = text_of(element)
        made.text = normal(text) if text and tag in _SECRET else text or None
    names = [child for child in children if child.tag == key_of(tag)]
    rest = [child for child in children if child.tag != key_of(tag) and child.tag not in _ORDERED]
    ordered = [child for child in children if child.tag in _ORDERED]
    rest.sort(key=lambda child: (child.tag, name_of(child), child.text or ""))
    made.extend([*names, *rest, *ordered])
    return made


def _plain(entry: Element) -> Element:
    """As `plain`; a leaf is read several times for one change, and little of it differs from what was read before."""
    return etree.fromstring(_plain_text(etree.tostring(entry, with_tail=False)))


@lru_cache(1 << 14)
def _plain_text(text: bytes) -> bytes:
    return etree.tostring(plain(etree.fromstring(text)))


def to_xml(element: Element) -> str:
    """An element as text."""
    return etree.tostring(element, encoding="unicode")


def from_xml(text: str) -> Element:
    """The element that a text is. Raises etree.XMLSyntaxError."""
    return etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True))


def digest(element: Element | None) -> str:
    """What tells an object in plain form from any other one; nothing for none."""
    return "" if element is None else hashlib.sha256(etree.tostring(element)).hexdigest()


def differing(one: Mapping[Key, Element], other: Mapping[Key, Element]) -> list[Key]:
    """The objects that are not the same in both, or in one of them only, sorted; all are in plain form."""
    return [
        key
        for key in sorted(one.keys() | other.keys())
        if key not in one or key not in other or etree.tostring(one[key]) != etree.tostring(other[key])
    ]


def _in_force(element: Element) -> bool:
    return isinstance(element.tag, str) and element.get("inactive") is None


def _is(element: Element, step: str) -> bool:
    """Whether the element is one step of a place: the tag, and the name where the step says one."""
    tag, _, name = step.partition(" ")
    return _in_force(element) and tag_of(element) == tag and name in ("", name_of(element))


def _entries(root: Element, place: tuple[str, ...]) -> Iterator[Element]:
    found = [root]
    for step in place:
        tag = f"{{*}}{step.partition(' ')[0]}"
        found = [child for parent in found for child in parent.iterchildren(tag) if _is(child, step)]
    yield from found


def _tag_value(route: Element) -> str:
    tag = child_of(route, "tag")
    return "" if tag is None else text_of(child_of(tag, "metric-value"))


def _physical(interface: str) -> str:
    return interface.removesuffix(".0")


def _standing(root: Element) -> Iterator[tuple[Key, Element, bool]]:
    """All that stands where ours may, and whether it is."""
    interfaces = set()
    for place in _PLACES:
        for entry in _entries(root, place):
            name = name_of(entry)
            if place == _INTERFACE:
                ours = describes_ours(text_of(child_of(entry, "description")))
                if ours:
                    interfaces.add(name)
            elif place in _OF_INTERFACE:
                ours = _physical(name) in interfaces
            elif place in _ROUTES:
                ours = _tag_value(entry) == ROUTE_TAG
            else:
                ours = is_ours(name)
            yield (*place, name), entry, ours


def owned_objects(configuration: Element) -> dict[Key, Element]:
    """Our objects by place and name, in plain form."""
    return {key: _plain(entry) for key, entry, ours in _standing(configuration) if ours}


def standing(configuration: Element, keys: Collection[Key]) -> dict[Key, Element]:
    """Whatever stands in these places, ours or not, in plain form."""
    return {key: _plain(entry) for key, entry, _ in _standing(configuration) if key in keys}


def relevant(configuration: Element, ports: Collection[str]) -> Element:
    """A `<configuration>` in plain form of what is ours in it, and of all that stands on these interfaces."""
    return _assembled(
        {
            key: _plain(entry)
            for key, entry, ours in _standing(configuration)
            if ours or (key[-2] == "interface" and _physical(key[-1]) in ports)
        }
    )


def foreign_ports(configuration: Element, leaf: Leaf) -> dict[str, str]:
    """Of the leaf's ports that carry links, those where somebody else's configuration stands: as `set` statements.

    Not those that may be taken over, and not where nothing stands but a name.
    """
    ports = {port.name for port in leaf.ports if port.links and not port.take_over}
    found = {}
    for key, entry, ours in _standing(configuration):
        if key[:-1] == _INTERFACE and not ours and key[-1] in ports and len(made := plain(entry)) > 1:
            found[key[-1]] = "\n".join(statements(key, made))
    return found


def rendered_objects(leaf: Leaf) -> dict[Key, Element]:
    """What the leaf's owned objects should be, whatever was exempted."""
    objects = owned_objects(shared(leaf))
    for port in leaf.ports:
        if port.links:
            own = _objects_of(port, reach(leaf, port))
            objects.update((key, copy.deepcopy(element)) for key, element in own.items())
    return objects


@lru_cache(1 << 13)
def _objects_of(port: Port, destinations: tuple[IPv4Network | IPv6Network, ...]) -> Mapping[Key, Element]:
    """The port's own objects; most ports are as they were when their leaf is looked at again."""
    return owned_objects(of_port(port, destinations))


def desired_objects(leaf: Leaf) -> dict[Key, Element]:
    """What the leaf's owned objects should be: rendered, with what is accepted instead of some.

    An exemption has lapsed when something else is rendered in its place than when it was made, and when it would leave
    a reference without its object.
    """
    rendered = rendered_objects(leaf)
    exempt = {one.key: one for one in leaf.exempt if digest(rendered.get(one.key)) == one.instead_of}
    while exempt:
        laid = _laid(rendered, exempt)
        lapsed = set()
        for key, element in laid.items():
            for meant in referred(key, element):
                if is_ours(meant[-1]) and meant not in laid:
                    lapsed |= exempt.keys() & ({meant} if meant in rendered else {key})
        if not lapsed:
            return laid
        exempt = {key: one for key, one in exempt.items() if key not in lapsed}
    return rendered


def _laid(rendered: Mapping[Key, Element], exempt: Mapping[Key, Exemption]) -> dict[Key, Element]:
    laid = dict(rendered)
    for key, one in exempt.items():
        if one.xml:
            laid[key] = plain(from_xml(one.xml))
        else:
            laid.pop(key, None)
    # What is ours because something else is may no longer be.
    return owned_objects(_assembled(laid)) if exempt else laid


def _assembled(objects: Mapping[Key, Element]) -> Element:
    root = etree.Element("configuration")
    for key in sorted(objects):
        _parent(root, key).append(objects[key])
    return root


def edit(wanted: Mapping[Key, Element], running: Mapping[Key, Element]) -> Element | None:
    """The smallest `<configuration>` that turns what is running into what is wanted; None when nothing differs.

    Each object that differs is replaced as a whole, each that is ours and not wanted is deleted (RFC 6241 §7.2).
    """
    root = etree.Element("configuration", nsmap={"nc": NETCONF})
    for key in differing(wanted, running):
        if key in wanted:
            entry = copy.deepcopy(wanted[key])
            entry.set(f"{{{NETCONF}}}operation", "replace")
        else:
            entry = etree.Element(key[-2])
            etree.SubElement(entry, "name").text = key[-1]
            entry.set(f"{{{NETCONF}}}operation", "delete")
        _parent(root, key).append(entry)
    return root if len(root) else None


def _parent(root: Element, key: Key) -> Element:
    """Where an object stands; what is missing on the way there is made."""
    parent = root
    for step in key[:-2]:
        found = next((child for child in parent if _is(child, step)), None)
        parent = _made(parent, step) if found is None else found
    return parent


def _made(parent: Element, step: str) -> Element:
    tag, _, name = step.partition(" ")
    made = etree.SubElement(parent, tag)
    if name:
        etree.SubElement(made, "name").text = name
    return made

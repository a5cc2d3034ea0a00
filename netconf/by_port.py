"""Which port each owned object, or part of one, belongs to; so that some ports can go without the others. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface

from lxml import etree

from netconf.owned import Key, name_of, plain, tag_of
from netconf.render import OWNER, Element

Objects = Mapping[Key, Element]

_OWN_NAME = re.compile(rf"{OWNER}[46]-(?:own-)?(.+)")
_RELAY = ("forwarding-options", "dhcp-relay")
# Objects that several ports have a part in, by the tag above their name, and the tag of such a part.
_PART = {"group": "interface", "route": "next-hop"}


class _Ports:
    """The ports of one configuration, by what a part of an object calls them."""

    def __init__(self, objects: Objects) -> None:
        self._networks: list[tuple[IPv4Network | IPv6Network, str]] = []
        for key, interface in objects.items():
            if key[0] == "interfaces":
                for address in interface.findall("unit/family/*/address"):
                    self._networks.append((ip_interface(name_of(address)).network, key[-1]))

    def of_part(self, part: Element) -> str:
        """The port that a relay's interface, or the address of a machine behind it, stands for; or nothing."""
        text = name_of(part) or (part.text or "").strip()
        try:
            address = ip_address(text)
        except ValueError:
            return text.removesuffix(".0")
        return next((port for network, port in self._networks if address in network), "")


def _port_of(key: Key) -> str:
    """The port that a whole object belongs to, or nothing for what is shared."""
    if key[-2] == "interface":
        return key[-1].removesuffix(".0")
    named = _OWN_NAME.fullmatch(key[-1])
    return named[1] if named else ""


def _split(key: Key, element: Element, ports: _Ports) -> Iterator[tuple[str, Element]]:
    """What of an object belongs to which port; nothing for the object's own statements."""
    for child in element:
        yield (ports.of_part(child) if tag_of(child) == _PART[key[-2]] else ""), child


def _of_each(objects: Objects) -> dict[str, set[tuple[Key, bytes]]]:
    ports = _Ports(objects)
    found: dict[str, set[tuple[Key, bytes]]] = {}
    for key, element in objects.items():
        if key[-2] in _PART:
            for port, child in _split(key, element, ports):
                found.setdefault(port, set()).add((key, etree.tostring(child)))
        else:
            found.setdefault(_port_of(key), set()).add((key, etree.tostring(element)))
    return found


def changed_ports(wanted: Objects, running: Objects) -> list[str]:
    """The ports that are not as they should be, sorted."""
    new, old = _of_each(wanted), _of_each(running)
    return sorted(port for port in new.keys() | old.keys() if port and new.get(port) != old.get(port))


def without(wanted: Objects, running: Objects, left_out: Collection[str]) -> dict[Key, Element]:
    """What is wanted, but for some ports, which stay as they run. What is shared is as wanted."""
    if not left_out:
        return dict(wanted)
    new_ports, old_ports = _Ports(wanted), _Ports(running)
    mixed: dict[Key, Element] = {}
    for key in wanted.keys() | running.keys():
        new, old = wanted.get(key), running.get(key)
        if key[-2] in _PART:
            parts = [child for port, child in _parts(key, new, new_ports) if port not in left_out]
            parts += [child for port, child in _parts(key, old, old_ports) if port in left_out]
            if parts:
                mixed[key] = _joined(key, next(one for one in (new, old) if one is not None), parts)
        elif (element := old if _port_of(key) in left_out else new) is not None:
            mixed[key] = element
    return _with_servers(mixed, running)


def _parts(key: Key, element: Element | None, ports: _Ports) -> list[tuple[str, Element]]:
    if element is None:
        return []
    return [(port, child) for port, child in _split(key, element, ports) if tag_of(child) == _PART[key[-2]]]


def _joined(key: Key, model: Element, parts: list[Element]) -> Element:
    made = copy.deepcopy(model)
    for child in list(made):
        if tag_of(child) == _PART[key[-2]]:
            made.remove(child)
    made.extend(copy.deepcopy(part) for part in parts)
    return plain(made)


def _with_servers(mixed: dict[Key, Element], running: Objects) -> dict[Key, Element]:
    """The relay's group and the servers that it names come and go together."""
    group, servers = (*_RELAY, "group", OWNER), (*_RELAY, "server-group", "server-group", OWNER)
    if group not in mixed:
        mixed.pop(servers, None)
    elif servers not in mixed and servers in running:
        mixed[servers] = running[servers]
    return mixed


def named_in(path: str, ports: Collection[str]) -> list[str]:
    """The ports that an error-path speaks of, by themselves or by an object of theirs, whatever the path's form."""
    return [port for port in ports if re.search(rf"(?<![0-9a-z/:]){re.escape(port)}(?![0-9/:])", path)]

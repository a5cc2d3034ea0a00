"""Which port each owned object, or part of one, belongs to; so that some ports can go without the others. Pure.

What joins the leaf to the rest goes as one, as if it were a port called "fabric".
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface

from lxml import etree

from netconf.names import FABRIC, describes_fabric, port_of_name
from netconf.owned import Key, differing, name_of, plain, tag_of
from netconf.references import all_referred, reached, referred, users_of
from netconf.render import Element

Objects = Mapping[Key, Element]

# Objects that several ports have a part in, by their place, and the tag of such a part.
_PART: dict[Key, str] = {
    ("forwarding-options", "dhcp-relay", "group"): "interface",
    ("forwarding-options", "dhcp-relay", "dhcpv6", "group"): "interface",
    ("routing-options", "static", "route"): "next-hop",
    ("routing-options", "rib inet6.0", "static", "route"): "next-hop",
}


@lru_cache(1 << 14)
def _network(address: str) -> IPv4Network | IPv6Network:
    return ip_interface(address).network


class _Ports:
    """The ports of one configuration, by its objects and by what a part of an object calls them."""

    def __init__(self, objects: Objects) -> None:
        self._networks: list[tuple[IPv4Network | IPv6Network, str]] = []
        self._of_fabric: set[str] = set()
        for key, interface in objects.items():
            if key[0] == "interfaces":
                if describes_fabric(interface.findtext("description") or ""):
                    self._of_fabric.add(key[-1])
                    continue
                for address in interface.findall("unit/family/*/address"):
                    self._networks.append((_network(name_of(address)), key[-1]))

    def of_object(self, key: Key) -> str:
        """The port that a whole object belongs to, or nothing for what is shared."""
        if key[-2] == "interface":
            name = key[-1].removesuffix(".0")
            return FABRIC if name in self._of_fabric else name
        return port_of_name(key[-1])

    def of_part(self, part: Element) -> str:
        """The port that a relay's interface, or the address of a machine behind it, stands for; or nothing."""
        text = name_of(part) or (part.text or "").strip()
        try:
            address = ip_address(text)
        except ValueError:
            return text.removesuffix(".0")
        return next((port for network, port in self._networks if address in network), "")

    def of_parts(self, key: Key, element: Element) -> Iterator[tuple[str, Element]]:
        """What of a shared object belongs to which port; nothing for the object's own statements."""
        for child in element:
            yield (self.of_part(child) if tag_of(child) == _PART[key[:-1]] else ""), child

    def all(self, objects: Objects) -> set[str]:
        """The host ports."""
        return {key[-1] for key in objects if key[0] == "interfaces"} - self._of_fabric


def _of_each(objects: Objects, keys: Collection[Key]) -> dict[str, set[tuple[Key, bytes]]]:
    """Of some of the objects, what belongs to which port; the others say where addresses are."""
    ports = _Ports(objects)
    found: dict[str, set[tuple[Key, bytes]]] = {}
    for key in keys:
        if (element := objects.get(key)) is None:
            continue
        if key[:-1] in _PART:
            for port, child in ports.of_parts(key, element):
                found.setdefault(port, set()).add((key, etree.tostring(child)))
        else:
            found.setdefault(ports.of_object(key), set()).add((key, etree.tostring(element)))
    return found


def changed_ports(wanted: Objects, running: Objects) -> list[str]:
    """The ports that are not as they should be, sorted; with them "fabric" if that is not."""
    keys = differing(wanted, running)
    new, old = _of_each(wanted, keys), _of_each(running, keys)
    return sorted(port for port in new.keys() | old.keys() if port and new.get(port) != old.get(port))


def touched_ports(wanted: Objects, running: Objects) -> list[str]:
    """The host ports that are not as they should be, or that share something which is not, sorted."""
    keys = differing(wanted, running)
    new, old = _of_each(wanted, keys), _of_each(running, keys)
    touched = {port for port in new.keys() | old.keys() if new.get(port) != old.get(port)}
    shared = {key for key, _ in new.get("", set()) ^ old.get("", set())}
    for objects in (wanted, running):
        need = Needs(objects)
        touched |= need.ports(shared) | (need.every if FABRIC in touched else set())
    return sorted(touched - {"", FABRIC})


class Needs:
    """Which host ports have a part in an object, or in one that refers to it; what is the fabric's they all need."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._ports = _Ports(objects)
        self._users = users_of(objects)
        self.every = self._ports.all(objects)

    def ports(self, keys: Collection[Key]) -> set[str]:
        """The host ports of these objects."""
        found: set[str] = set()
        for key in reached(keys, self._users) & self._objects.keys():
            if key[:-1] in _PART:
                found |= {port for port, _ in self._ports.of_parts(key, self._objects[key])}
            else:
                found.add(self._ports.of_object(key))
        return (found | (self.every if FABRIC in found else set())) - {"", FABRIC}


def without(wanted: Objects, running: Objects, left_out: Collection[str]) -> dict[Key, Element]:
    """What is wanted, but for some ports, which stay as they run. What is shared is as wanted.

    Whatever the ones that stay refer to stays with them, and what then nothing refers to any longer does not come.
    """
    if not left_out:
        return dict(wanted)
    new_ports, old_ports = _Ports(wanted), _Ports(running)
    mixed: dict[Key, Element] = {}
    for key in wanted.keys() | running.keys():
        new, old = wanted.get(key), running.get(key)
        if key[:-1] in _PART:
            parts = [child for port, child in _parts(key, new, new_ports) if port not in left_out]
            parts += [child for port, child in _parts(key, old, old_ports) if port in left_out]
            if parts:
                mixed[key] = _joined(key, next(one for one in (new, old) if one is not None), parts)
        elif old is not None and old_ports.of_object(key) in left_out:
            mixed[key] = old
        elif new is not None and new_ports.of_object(key) not in left_out:
            mixed[key] = new
    return _whole(mixed, wanted, running)


def _parts(key: Key, element: Element | None, ports: _Ports) -> list[tuple[str, Element]]:
    if element is None:
        return []
    return [(port, child) for port, child in ports.of_parts(key, element) if tag_of(child) == _PART[key[:-1]]]


def _joined(key: Key, model: Element, parts: list[Element]) -> Element:
    made = copy.deepcopy(model)
    for child in list(made):
        if tag_of(child) == _PART[key[:-1]]:
            made.remove(child)
    # Two ports may have the same part: machines that changed places, say.
    made.extend({etree.tostring(plain(part)): copy.deepcopy(part) for part in parts}.values())
    return plain(made)


def _whole(mixed: dict[Key, Element], wanted: Objects, running: Objects) -> dict[Key, Element]:
    """The objects with all that they refer to, and without what is shared by nobody any longer."""
    used = all_referred(mixed)
    unused = {key for key in all_referred(wanted) if not port_of_name(key[-1])} - used
    for key in unused:
        mixed.pop(key, None)
    ahead = list(used)
    while ahead:
        key = ahead.pop()
        if key not in mixed and (found := running.get(key, wanted.get(key))) is not None:
            mixed[key] = found
            ahead += referred(key, found)
    return mixed


def named_in(path: str, ports: Collection[str]) -> list[str]:
    """The ports that an error-path speaks of, by themselves or by an object of theirs, whatever the path's form."""
    return [port for port in ports if re.search(rf"(?<![0-9a-z/:]){re.escape(port)}(?![0-9/:])", path)]

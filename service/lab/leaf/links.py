"""The leaf's interfaces and what they are connected to, as a configuration and the cables make them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

from netconf.owned import name_of
from netconf.render import Element
from service.lab.leaf.datastore import active

Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Plug:
    """The end of a cable in one of the leaf's ports; `mac` is empty while nobody says anything over it."""

    port: str
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A logical interface. It is up if its port is."""

    name: str  # "xe-0/0/12.0"
    description: str
    families: tuple[tuple[str, tuple[Address, ...]], ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """A physical interface, configured or not."""

    name: str
    enabled: bool
    up: bool
    description: str
    mtu: int
    units: tuple[Unit, ...]

    @property
    def addresses(self) -> Iterator[tuple[Unit, Address]]:
        """All addresses, with the units that have them."""
        for unit in self.units:
            for _, found in unit.families:
                for address in found:
                    yield unit, address


def interfaces_of(configuration: Element, ports: list[str], connected: Callable[[str], bool]) -> list[Interface]:
    """All interfaces: the `ports` that the leaf has, its loopback, and whatever else is configured, by name."""
    configured = {name_of(one): one for one in active(configuration, "interfaces/interface")}
    return [
        _interface(name, configured.get(name), connected(name))
        for name in sorted({*ports, "lo0", *configured}, key=natural)
    ]


def natural(name: str) -> list[str | int]:
    """A key that sorts numbers in names as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", name)]


def _interface(name: str, configured: Element | None, connected: bool) -> Interface:
    if configured is None:
        return Interface(name, True, connected, "", 1514, ())
    enabled = not active(configured, "disable")
    units = tuple(
        Unit(f"{name}.{name_of(unit)}", unit.findtext("description") or "", tuple(_families(unit)))
        for unit in active(configured, "unit")
        if not active(unit, "disable")
    )
    mtu = configured.findtext("mtu") or ""
    return Interface(
        name,
        enabled,
        enabled and connected,
        configured.findtext("description") or "",
        int(mtu) if mtu.isdecimal() else 1514,
        units,
    )


def _families(unit: Element) -> Iterator[tuple[str, tuple[Address, ...]]]:
    for family in active(unit, "family/*"):
        found = []
        for address in active(family, "address"):
            try:
                found.append(ip_interface(name_of(address)))
            except ValueError:  # of a family that has other addresses, or a leaf whose commits check nothing
                continue
        yield str(family.tag), tuple(found)


@dataclass(frozen=True, slots=True)
class Connected:
    """The networks that the leaf's interfaces stand in, those that are up."""

    interfaces: tuple[Interface, ...]

    def via(self, next_hop: str) -> str | None:
        """The logical interface that leads to a neighbour's address, or None."""
        address = _address(next_hop)
        for interface in self.interfaces:
            if interface.up and address is not None:
                for unit, own in interface.addresses:
                    if own.version == address.version and address in own.network and address != own.ip:
                        return unit.name
        return None

    def own_address(self, neighbor: str) -> str:
        """The leaf's own address on the link to a neighbour, up or not; or nothing."""
        address = _address(neighbor)
        for interface in self.interfaces:
            for _, own in interface.addresses:
                if address is not None and own.version == address.version and address in own.network:
                    return str(own.ip)
        return ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None

"""What a cable sees of a port: read once from each running configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, ip_interface

from netconf.desired import Link, LinkRole
from netconf.owned import name_of
from netconf.render import Element
from service.lab.leaf.datastore import active


class PortView:
    """A port of the leaf as its running configuration makes it behave (`service.lab.parts.LeafPort`)."""

    def __init__(self, leaf: str, name: str) -> None:
        self.leaf = leaf
        self.name = name
        self._links: tuple[Link, ...] = ()
        self._relay_to: tuple[IPv4Address, ...] = ()
        self._relay_source: IPv4Address | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def links(self) -> Sequence[Link]:
        """The routed links of the port."""
        return self._links

    @property
    def relay_to(self) -> Sequence[IPv4Address]:
        """The DHCP servers that the port's requests are relayed to."""
        return self._relay_to

    @property
    def relay_source(self) -> IPv4Address | None:
        """The giaddr."""
        return self._relay_source

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the port."""
        self._watchers.append(changed)

    def update(
        self, links: tuple[Link, ...], relay_to: tuple[IPv4Address, ...], relay_source: IPv4Address | None
    ) -> None:
        """Take over what a new running configuration says, and tell the watchers if that is news."""
        if (links, relay_to, relay_source) == (self._links, self._relay_to, self._relay_source):
            return
        self._links, self._relay_to, self._relay_source = links, relay_to, relay_source
        for changed in list(self._watchers):
            changed()


def _role(address: Element, version: int) -> LinkRole:
    if address.find("primary") is not None:
        return LinkRole.BOOT
    if version == 6:
        return LinkRole.IPV6
    return LinkRole.PUBLIC if address.find("preferred") is not None else LinkRole.PRIVATE


def _servers(group: Element) -> Iterator[IPv4Address]:
    for address in active(group, "address"):
        with suppress(ValueError):  # what is ephemeral was not checked
            yield IPv4Address(name_of(address))


def update_views(views: dict[str, PortView], configuration: Element) -> None:
    """Bring all ports' views to a running configuration, in one pass over it."""
    servers: dict[str, tuple[IPv4Address, ...]] = {
        name_of(group): tuple(_servers(group))
        for group in active(configuration, "forwarding-options/dhcp-relay/server-group/server-group")
    }
    relayed: dict[str, tuple[IPv4Address, ...]] = {}
    for group in active(configuration, "forwarding-options/dhcp-relay/group"):
        chosen = group.findtext("active-server-group/active-server-group") or ""
        for interface in active(group, "interface"):
            relayed[name_of(interface).removesuffix(".0")] = servers.get(chosen, ())
    interfaces = {name_of(one): one for one in active(configuration, "interfaces/interface")}
    for name, view in views.items():
        links, source = _links(interfaces.get(name))
        view.update(links, relayed.get(name, ()), source)


def _links(interface: Element | None) -> tuple[tuple[Link, ...], IPv4Address | None]:
    links: list[Link] = []
    source = None
    if interface is None or active(interface, "disable"):
        return (), None
    for address in active(interface, "unit/family/*/address"):
        try:
            leaf = ip_interface(name_of(address))
        except ValueError:  # what is ephemeral was not checked
            continue
        role = _role(address, leaf.version)
        if role is LinkRole.BOOT and isinstance(leaf.ip, IPv4Address):
            source = leaf.ip
        links.append(Link(role, leaf))
    return tuple(sorted(links)), source

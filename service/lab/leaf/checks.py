"""What the leaf looks at before it commits a configuration. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_interface

from netconf.owned import name_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError


def check(configuration: Element) -> list[str]:
    """What the leaf warns of. Raises EditError, with the path, for what it refuses."""
    _check_addresses(configuration)
    _check_references(configuration)
    return []


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

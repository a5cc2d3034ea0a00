"""What the leaf looks at before it commits a configuration. Pure.

As on Junos, what is deactivated is not looked at; and a static route whose next hop is on no link of the leaf is taken,
and is in no routing table (`routes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError, active, path_of

_FAMILIES = ("inet", "inet6")


def check(configuration: Element) -> list[str]:
    """What the leaf warns of. Raises EditError, with the path, for what it refuses."""
    _check_addresses(configuration)
    _check_prefixes(configuration)
    _check_firewall(configuration)
    _check_policies(configuration)
    _check_bgp(configuration)
    return list(_check_relay(configuration))


def _refuse(message: str, element: Element) -> EditError:
    return EditError("invalid-value", message, path_of(element))


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _named(configuration: Element, place: str) -> set[str]:
    return {name_of(one) for one in active(configuration, place)}


def _check_addresses(configuration: Element) -> None:
    seen: dict[str, str] = {}
    for interface in active(configuration, "interfaces/interface"):
        for family in active(interface, "unit/family/*"):
            for one in active(family, "address"):
                try:
                    address = ip_interface(name_of(one))
                except ValueError:
                    raise _refuse(f"invalid address {name_of(one)!r}", family) from None
                other = seen.setdefault(str(address.ip), name_of(interface))
                if other != name_of(interface):
                    raise _refuse(f"address {address.ip} is on {other} already", family)


def _check_prefixes(configuration: Element) -> None:
    places = ("policy-options/prefix-list/prefix-list-item", "routing-options/static/route")
    for one in (*(entry for place in places for entry in active(configuration, place)), *_rib_routes(configuration)):
        try:
            ip_network(name_of(one))
        except ValueError:
            raise _refuse(f"invalid prefix {name_of(one)!r}", one) from None
        for hop in active(one, "next-hop"):
            try:
                ip_address(_text(hop))
            except ValueError:
                raise _refuse(f"invalid next hop {_text(hop)!r}", one) from None


def _rib_routes(configuration: Element) -> list[Element]:
    return active(configuration, "routing-options/rib/static/route")


def _check_firewall(configuration: Element) -> None:
    lists = _named(configuration, "policy-options/prefix-list")
    policers = _named(configuration, "firewall/policer")
    for family in _FAMILIES:
        filters = _named(configuration, f"firewall/family/{family}/filter")
        for protocol in active(configuration, f"interfaces/interface/unit/family/{family}"):
            for used in (*active(protocol, "filter/input/filter-name"), *active(protocol, "filter/output/filter-name")):
                if _text(used) not in filters:
                    raise _refuse(f"filter {_text(used)!r} is not defined", protocol)
            for used in active(protocol, "policer/arp"):
                if _text(used) not in policers:
                    raise _refuse(f"policer {_text(used)!r} is not defined", protocol)
        for term in active(configuration, f"firewall/family/{family}/filter/term"):
            for place in ("source-prefix-list", "destination-prefix-list", "prefix-list"):
                for used in active(term, f"from/{place}"):
                    if name_of(used) not in lists:
                        raise _refuse(f"prefix-list {name_of(used)!r} is not defined", term)
            for used in active(term, "then/policer"):
                if _text(used) not in policers:
                    raise _refuse(f"policer {_text(used)!r} is not defined", term)


def _check_policies(configuration: Element) -> None:
    lists = _named(configuration, "policy-options/prefix-list")
    communities = _named(configuration, "policy-options/community")
    for policy in active(configuration, "policy-options/policy-statement"):
        for term in [*active(policy, "term"), policy]:
            for used in (*active(term, "from/prefix-list"), *active(term, "from/prefix-list-filter")):
                if name_of(used) not in lists:
                    raise _refuse(f"prefix-list {name_of(used)!r} is not defined", term)
            for used in (*active(term, "from/community"), *active(term, "then/community/community-name")):
                if _text(used) not in communities:
                    raise _refuse(f"community {_text(used)!r} is not defined", term)


def _check_bgp(configuration: Element) -> None:
    policies = _named(configuration, "policy-options/policy-statement")
    for table in active(configuration, "routing-options/forwarding-table"):
        _check_used(table, policies)
    own_as = bool(active(configuration, "routing-options/autonomous-system/as-number"))
    seen: dict[str, str] = {}
    for bgp in active(configuration, "protocols/bgp"):
        _check_used(bgp, policies)
        for group in active(bgp, "group"):
            _check_used(group, policies)
            for neighbor in active(group, "neighbor"):
                _check_used(neighbor, policies)
                other = seen.setdefault(name_of(neighbor), name_of(group))
                if other != name_of(group):
                    raise _refuse(f"neighbor {name_of(neighbor)} is in group {other!r} already", neighbor)
                levels = (neighbor, group, bgp)
                if not own_as and not any(active(one, "local-as/as-number") for one in levels):
                    raise _refuse("the local autonomous system number must be configured", neighbor)
                external = (group.findtext("type") or "external").strip() == "external"
                if external and not any(active(one, "peer-as") for one in levels):
                    raise _refuse("peer AS number must be configured for an external peer", neighbor)


def _check_used(element: Element, policies: set[str]) -> None:
    for used in (*active(element, "import"), *active(element, "export")):
        if _text(used) not in policies:
            raise _refuse(f"policy {_text(used)!r} is not defined ({tag_of(used)})", element)


def _check_relay(configuration: Element) -> Iterator[str]:
    units = {
        f"{name_of(interface)}.{name_of(unit)}"
        for interface in active(configuration, "interfaces/interface")
        for unit in active(interface, "unit")
    }
    for relay in ("forwarding-options/dhcp-relay", "forwarding-options/dhcp-relay/dhcpv6"):
        servers = _named(configuration, f"{relay}/server-group/server-group")
        for group in active(configuration, f"{relay}/group"):
            for used in active(group, "active-server-group/active-server-group"):
                if _text(used) not in servers:
                    raise _refuse(f"server-group {_text(used)!r} is not defined", group)
            for interface in active(group, "interface"):
                if name_of(interface) not in units:
                    yield f"{path_of(group)} interface {name_of(interface)} is not configured"

"""What reaches the leaf itself: the filters on its loopback, which all of that passes, from whatever interface. Pure.

Whoever manages the leaf reaches all of it. Others reach what makes it a router: BGP with the peers that it has, BFD,
DHCP, ICMP; and the servers that it asks are heard when they answer. Peers and servers are those that the leaf's
configuration names, whoever wrote them there, so that nothing of somebody else's is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netconf.desired import Fabric
from netconf.names import CONTROL_POLICER, named_list, protect_filter
from netconf.tree import Element, add, named, path

# Bits a second, and bytes at once, of each term that has it: a few thousand DHCP messages.
_BANDWIDTH, _BURST = "8m", "512k"

# Lists that Junos fills itself, by what each is called and where the configuration has it. The address is the leaf's
# own, so that a list is never empty: what an empty one matches is not the same everywhere.
_NAMED_IN_CONFIGURATION = {
    "peers": "protocols bgp group <*> neighbor",
    "ntp": "system ntp server",
    "dns": "system name-server",
    "radius": "system radius-server",
    "tacplus": "system tacplus-server",
}
_LEAF_ITSELF = {4: "127.0.0.1/32", 6: "::1/128"}
_PATTERN = {4: "<*.*>", 6: "<*:*>"}
_SERVERS = ("ntp", "dns", "radius", "tacplus")


@dataclass(frozen=True, slots=True)
class _Term:
    """What a term accepts; all that it says must be so."""

    name: str
    lists: tuple[str, ...] = ()  # the source is in one of them
    protocol: str = ""
    conditions: tuple[tuple[str, str], ...] = ()
    policed: bool = False


def _terms(version: int) -> Sequence[_Term]:
    icmp = "icmp" if version == 4 else "icmp6"
    return (
        _Term("management", ("management",)),
        _Term("bgp", ("peers",), "tcp", (("destination-port", "179"),)),
        _Term("bgp-answer", ("peers",), "tcp", (("source-port", "179"), ("tcp-established", ""))),
        _Term("bfd", ("peers",), "udp", (("destination-port", "3784-3785"),)),
        _Term("dhcp", (), "udp", (("destination-port", "67-68" if version == 4 else "546-547"),), policed=True),
        *(
            # Not policed: a host that sends many would keep the others from finding the leaf.
            [_Term("neighbour", (), icmp, tuple(("icmp-type", str(kind)) for kind in range(133, 137)))]
            if version == 6
            else []
        ),
        _Term("icmp", (), icmp, policed=True),
        _Term("traceroute", (), "udp", (("destination-port", "33434-33523"),), policed=True),
        _Term("answer", _SERVERS, "udp", tuple(("source-port", port) for port in ("53", "123", "1645", "1812"))),
        _Term("tcp-answer", _SERVERS, "tcp", (("tcp-established", ""),)),
    )


def protect(policy: Element, firewall: Element, fabric: Fabric) -> None:
    """The filters of both families, and what they refer to.

    Only with a list of where the leaf is managed from: without one the filters would shut everybody out.
    """
    assert fabric.management
    policer = named(firewall, "policer", CONTROL_POLICER)
    limit = add(policer, "if-exceeding")
    add(limit, "bandwidth-limit", _BANDWIDTH)
    add(limit, "burst-size-limit", _BURST)
    path(policer, "then", "discard")
    for version, name in ((4, "inet"), (6, "inet6")):
        managers = [str(one) for one in fabric.management if one.version == version]
        entry = named(policy, "prefix-list", named_list(version, "management"))
        for prefix in managers or [_LEAF_ITSELF[version]]:
            named(entry, "prefix-list-item", prefix)
        for kind, where in _NAMED_IN_CONFIGURATION.items():
            entry = named(policy, "prefix-list", named_list(version, kind))
            named(entry, "prefix-list-item", _LEAF_ITSELF[version])
            add(entry, "apply-path", f"{where} {_PATTERN[version]}")
        family = firewall.find(f"family/{name}")
        assert family is not None
        _filter(family, version)


def _filter(family: Element, version: int) -> None:
    entry = named(family, "filter", protect_filter(version))
    for one in _terms(version):
        term = named(entry, "term", one.name)
        source = add(term, "from")
        for kind in one.lists:
            named(source, "source-prefix-list", named_list(version, kind))
        if one.protocol:
            add(source, "protocol" if version == 4 else "next-header", one.protocol)
        for what, value in one.conditions:
            add(source, what, value or None)
        then = add(term, "then")
        if one.policed:
            add(then, "policer", CONTROL_POLICER)
        add(then, "accept")
    rest = add(named(entry, "term", "rest"), "then")
    add(rest, "count", "rest")
    add(rest, "discard")

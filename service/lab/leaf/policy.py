"""What an import policy takes, for the conditions that leaves have in them (Junos: routing policies). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import active

Network = IPv4Network | IPv6Network


def network_of(text: str) -> Network | None:
    """The network that a text says, or None: what is ephemeral was not checked."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def covers(outer: Network, inner: Network) -> bool:
    """Whether a network lies in another one, or is it."""
    if outer.version != inner.version or outer.prefixlen > inner.prefixlen:
        return False
    return int(outer.network_address) <= int(inner.network_address) <= int(outer.broadcast_address)


def accepted(configuration: Element, policies: Sequence[str], prefix: Network) -> bool:
    """Whether the policies let a prefix in that was learned by BGP; without a verdict BGP's default takes it."""
    statements = {name_of(one): one for one in active(configuration, "policy-options/policy-statement")}
    for name in policies:
        if (statement := statements.get(name)) is None:
            continue
        # What stands outside of the terms is one more, unnamed, after them.
        for term in [*active(statement, "term"), statement]:
            if all(_holds(configuration, group, prefix) for group in _conditions(term)):
                if active(term, "then/accept"):
                    return True
                if active(term, "then/reject"):
                    return False
    return True


def _conditions(term: Element) -> Iterator[list[Element]]:
    """What must hold: one of each list. Prefix lists and route filters are one list."""
    lists: dict[str, list[Element]] = {}
    for one in active(term, "from/*"):
        kind = "prefix" if tag_of(one) in _PREFIXES else tag_of(one)
        lists.setdefault(kind, []).append(one)
    yield from lists.values()


_PREFIXES = {"prefix-list", "prefix-list-filter", "route-filter"}
_HOW = ("exact", "longer", "orlonger", "upto", "prefix-length-range")


def _holds(configuration: Element, any_of: list[Element], prefix: Network) -> bool:
    return any(_one_holds(configuration, one, prefix) for one in any_of)


def _one_holds(configuration: Element, condition: Element, prefix: Network) -> bool:
    how = next((tag_of(one) for one in condition if tag_of(one) in _HOW), "exact")
    match tag_of(condition):
        case "protocol":
            return (condition.text or "").strip() == "bgp"
        case "family":
            return (condition.text or "").strip() == ("inet" if prefix.version == 4 else "inet6")
        case "route-filter":
            return _within(prefix, condition.findtext("address") or name_of(condition), how, condition)
        case "prefix-list" | "prefix-list-filter":
            name = condition.findtext("list_name") or name_of(condition)
            return any(_within(prefix, one, how, condition) for one in _listed(configuration, name))
    return False  # nothing that a bare announcement would have: a community, a neighbour's name, a tag


def _listed(configuration: Element, name: str) -> Iterator[str]:
    for one in active(configuration, "policy-options/prefix-list"):
        if name_of(one) == name:
            yield from map(name_of, active(one, "prefix-list-item"))


def _within(prefix: Network, text: str, how: str, condition: Element) -> bool:
    outer = network_of(text)
    if outer is None:
        return False
    shortest, longest = {
        "exact": (outer.prefixlen, outer.prefixlen),
        "longer": (outer.prefixlen + 1, outer.max_prefixlen),
        "orlonger": (outer.prefixlen, outer.max_prefixlen),
        "upto": (outer.prefixlen, _lengths(condition, "upto")[-1]),
        "prefix-length-range": _range(condition),
    }[how]
    return covers(outer, prefix) and shortest <= prefix.prefixlen <= longest


def _lengths(condition: Element, tag: str) -> list[int]:
    """The numbers of "/24" or "/24-/28"; one that nothing matches where there are none."""
    found = [part.lstrip("/") for part in (condition.findtext(tag) or "").split("-")]
    return [int(part) if part.isdecimal() else -1 for part in found]


def _range(condition: Element) -> tuple[int, int]:
    lengths = _lengths(condition, "prefix-length-range")
    return lengths[0], lengths[-1]

"""What an object refers to by its name. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from netconf.tree import Element

Key = tuple[str, ...]

_GROUP = ("protocols", "bgp", "group")
_LIST, _POLICY = ("policy-options", "prefix-list"), ("policy-options", "policy-statement")
_COMMUNITY, _POLICER = ("policy-options", "community"), ("firewall", "policer")
_RELAY = ("forwarding-options", "dhcp-relay")
_RELAY6 = (*_RELAY, "dhcpv6")


def _of_family(family: str) -> list[tuple[Key, str, Key]]:
    place = ("firewall", "family", family, "filter")
    return [
        (("interfaces", "interface"), f"unit/family/{family}/filter/*/filter-name", place),
        (place, "term/from/source-prefix-list/name", _LIST),
        (place, "term/from/destination-prefix-list/name", _LIST),
        (place, "term/then/policer", _POLICER),
    ]


# Objects of this place, where they say the name, and the place of what is meant.
_REFERENCES: tuple[tuple[Key, str, Key], ...] = (
    *_of_family("inet"),
    *_of_family("inet6"),
    (_GROUP, ".//import", _POLICY),
    (_GROUP, ".//export", _POLICY),
    (_POLICY, "term/from/prefix-list-filter/list_name", _LIST),
    (_POLICY, "term/from/prefix-list/name", _LIST),
    (_POLICY, "term/from/community", _COMMUNITY),
    (_POLICY, "term/then/community/community-name", _COMMUNITY),
    *(
        ((*relay, "group"), "active-server-group/active-server-group", (*relay, "server-group", "server-group"))
        for relay in (_RELAY, _RELAY6)
    ),
)


def referred(key: Key, element: Element) -> Iterator[Key]:
    """The objects that an object in plain form refers to, whether they are there or not."""
    for place, where, meant in _REFERENCES:
        if key[:-1] == place:
            for found in element.iterfind(where):
                yield (*meant, found.text or "")


def all_referred(objects: Mapping[Key, Element]) -> set[Key]:
    """What any of the objects refers to."""
    return {meant for key, element in objects.items() for meant in referred(key, element)}


def users_of(objects: Mapping[Key, Element]) -> dict[Key, set[Key]]:
    """The objects that refer to each."""
    users: dict[Key, set[Key]] = {}
    for key, element in objects.items():
        for meant in referred(key, element):
            users.setdefault(meant, set()).add(key)
    return users


def reached(keys: Collection[Key], edges: Mapping[Key, Collection[Key]]) -> set[Key]:
    """These, and all that one comes to from them."""
    found, ahead = set(keys), list(keys)
    while ahead:
        new = set(edges.get(ahead.pop(), ())) - found
        found |= new
        ahead += new
    return found

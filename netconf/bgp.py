"""BGP with the hosts: a group and two policies per port and family, so that ports share nothing. Pure.

The leaf takes a route only if it is in one of the port's prefix lists, the same that say what the host may send from,
and marks it, so that the rest of the network knows it for a host's. It waits for the host to call.
"""

from __future__ import annotations

from random import Random

from netconf.desired import BgpSession, Link, LinkRole, Port
from netconf.filters import announced_lists
from netconf.names import HOST_COMMUNITY, of_port
from netconf.secret9 import encode
from netconf.tree import Element, add, named, path

LOCAL_AS = 65530  # the leaf's, towards hosts; whatever its own is
_COMMUNITY_MEMBERS = "65530:29288"
_HOLD_TIME_S = 30
_MOST_PREFIXES = 10
_IDLE_MIN = 5  # after a host announced more than that
_FAMILIES: dict[LinkRole, tuple[int, str, str]] = {
    LinkRole.PRIVATE: (4, "inet", "0.0.0.0/0"),
    LinkRole.IPV6: (6, "inet6", "::/0"),
}


def sessions(bgp: Element, policy: Element, port: Port) -> bool:
    """The port's sessions; whether the leaf takes anything in them, and so marks it."""
    if not port.profile.opens:
        return False
    links = {link.role: link for link in port.links}
    found = [(links[session.link], session) for session in port.bgp if session.link in links]
    for link, session in found:
        _group(bgp, port, link, session)
        _from_host(policy, port, link)
        _to_host(policy, port, session)
    return any(announced_lists(port, link.leaf.version) for link, _ in found)


def host_community(policy: Element) -> None:
    """The mark of what hosts announce."""
    add(named(policy, "community", HOST_COMMUNITY), "members", _COMMUNITY_MEMBERS)


def _group(bgp: Element, port: Port, link: Link, session: BgpSession) -> None:
    version, family, _ = _FAMILIES[link.role]
    group = named(bgp, "group", of_port(version, port.name))
    add(group, "type", "external")
    add(group, "passive")
    add(group, "hold-time", str(_HOLD_TIME_S))
    add(group, "import", of_port(version, port.name, "from"))
    limit = path(group, "family", family, "unicast", "prefix-limit")
    add(limit, "maximum", str(_MOST_PREFIXES))
    add(path(limit, "teardown", "idle-timeout"), "timeout", str(_IDLE_MIN))
    add(group, "export", of_port(version, port.name, "to"))
    add(group, "peer-as", str(session.peer_as))
    local = add(group, "local-as")
    add(local, "as-number", str(LOCAL_AS))
    add(local, "private")
    add(local, "no-prepend-global-as")
    neighbor = named(group, "neighbor", str(link.host.ip))
    if session.password:
        # Written so that a password which looks as if it were hidden already is not taken for one.
        add(neighbor, "authentication-key", encode(session.password, Random(0)))


def _from_host(policy: Element, port: Port, link: Link) -> None:
    version = link.leaf.version
    statement = named(policy, "policy-statement", of_port(version, port.name, "from"))
    # A term each: in one, Junos looks at the longest prefix alone that covers the route, whatever it asks for.
    for name, match in announced_lists(port, version):
        term = named(statement, "term", match)
        add(named(add(term, "from"), "prefix-list-filter", name), match)
        then = add(term, "then")
        community = add(then, "community")
        add(community, "add")
        add(community, "community-name", HOST_COMMUNITY)
        add(then, "accept")
    path(named(statement, "term", "rest"), "then", "reject")


def _to_host(policy: Element, port: Port, session: BgpSession) -> None:
    version, _, default = _FAMILIES[session.link]
    statement = named(policy, "policy-statement", of_port(version, port.name, "to"))
    if session.default_route:
        term = named(statement, "term", "default")
        add(named(add(term, "from"), "route-filter", default), "exact")
        path(term, "then", "accept")
    path(named(statement, "term", "rest"), "then", "reject")

"""A change without some of its ports is whole in itself: nothing refers to what is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from netconf.by_port import changed_ports, touched_ports, without
from netconf.desired import Leaf, LinkRole, Profile
from netconf.names import FABRIC as FABRIC_PORT
from netconf.owned import Key, desired_objects, edit, owned_objects, set_lines
from netconf.render import Element
from service.lab.leaf.datastore import apply_edit
from service.lab.leaf.foreign import without_ours
from tests.netconf.junos_models import dangling
from tests.netconf.leaves import FABRIC, PORTS, leaf_of, leaves, port_of, session_of

# Somebody else's, wherever ours stands too, so that nothing becomes empty when ours goes.
_FOREIGN = """<configuration><system><host-name>leaf1</host-name></system>
<interfaces><interface><name>em0</name><unit><name>0</name></unit></interface></interfaces>
<forwarding-options><dhcp-relay><server-group><server-group><name>office</name></server-group></server-group>
<dhcpv6><server-group><server-group><name>office</name></server-group></server-group></dhcpv6></dhcp-relay>
</forwarding-options><protocols><router-advertisement><interface><name>em0.0</name></interface></router-advertisement>
<lldp><interface><name>all</name></interface></lldp><bgp><group><name>rhine</name><type>internal</type></group></bgp>
</protocols><policy-options><community><name>rhone</name><members>1:1</members></community></policy-options>
<firewall><family><inet><filter><name>rh4</name></filter></inet><inet6><filter><name>rhx-1</name></filter></inet6>
</family></firewall><routing-options><static><route><name>192.0.2.0/24</name><discard/></route></static>
<rib><name>inet6.0</name><static><route><name>2001:db8:f::/48</name><discard/></route></static></rib></routing-options>
</configuration>"""


def foreign() -> Element:
    return etree.fromstring(_FOREIGN, etree.XMLParser(remove_blank_text=True))


def made(running: Element, change: Element | None) -> Element:
    """What a leaf runs after a change, by the virtual leaf's own hand."""
    if change is not None:
        apply_edit(running, change)
    return running


def texts(objects: Mapping[Key, Element]) -> dict[Key, bytes]:
    return {key: etree.tostring(one) for key, one in objects.items()}


def instead(new: Leaf, old: Leaf, left_out: set[str]) -> Leaf:
    """`new`, with some ports as in `old`."""
    kept = [one for one in new.ports if one.name not in left_out]
    ports = (*kept, *(one for one in old.ports if one.name in left_out))
    return replace(new, ports=ports, fabric=old.fabric if FABRIC_PORT in left_out else new.fabric)


@settings(max_examples=150, deadline=None)
@given(old=leaves(), new=leaves(), left_out=st.sets(st.sampled_from([*PORTS, FABRIC_PORT])))
def test_any_change_without_any_ports_is_whole(old: Leaf, new: Leaf, left_out: set[str]) -> None:
    leaf = made(foreign(), edit(desired_objects(old), {}))
    assert dangling(leaf) == []
    running, wanted = owned_objects(leaf), desired_objects(new)
    mixture = without(wanted, running, left_out)
    leaf = made(leaf, edit(mixture, running))
    assert texts(owned_objects(leaf)) == texts(mixture)
    assert dangling(leaf) == []
    assert etree.tostring(without_ours(leaf)) == etree.tostring(foreign())
    assert not set(changed_ports(mixture, running)) & left_out
    assert set(changed_ports(wanted, mixture)) <= left_out
    # What it comes to is the leaf that one would have asked for; with the servers that are wanted, if ports use any.
    expected = set(set_lines(desired_objects(instead(new, old, left_out))))
    servers = {line for line in expected ^ set(set_lines(mixture)) if "server-group" not in line}
    assert servers == set()


def test_of_two_sessions_each_goes_without_the_other_and_takes_the_mark_along() -> None:
    plain = leaf_of(port_of(0, Profile.ACTIVE), port_of(1, Profile.ACTIVE))
    sessions = [replace(one, bgp=(session_of(n, LinkRole.PRIVATE),)) for n, one in enumerate(plain.ports)]
    spoken = replace(plain, ports=tuple(sessions))
    without_one = without(desired_objects(spoken), desired_objects(plain), {PORTS[0]})
    assert ("protocols", "bgp", "group", "rh4-xe-0/0/0") not in without_one
    assert ("protocols", "bgp", "group", "rh4-xe-0/0/1") in without_one
    assert ("policy-options", "community", "rh-host") in without_one
    without_both = without(desired_objects(spoken), desired_objects(plain), set(PORTS))
    assert texts(without_both) == texts(desired_objects(plain))
    # And one that stays keeps the mark that everybody else would be rid of.
    kept = without(desired_objects(plain), desired_objects(spoken), {PORTS[1]})
    assert ("policy-options", "community", "rh-host") in kept
    assert ("policy-options", "policy-statement", "rh4-from-xe-0/0/0") not in kept


def test_the_fabric_goes_as_one() -> None:
    plain, joined = leaf_of(port_of(0, Profile.ACTIVE)), leaf_of(port_of(0, Profile.ACTIVE), fabric=FABRIC)
    wanted, running = desired_objects(joined), desired_objects(plain)
    assert changed_ports(wanted, running) == [FABRIC_PORT]
    assert texts(without(wanted, running, {FABRIC_PORT})) == texts(running)


def test_what_is_shared_touches_the_ports_that_share_it_and_the_fabric_all() -> None:
    leaf = leaf_of(*(port_of(number, Profile.ACTIVE) for number in range(3)))
    session = replace(leaf.ports[1], bgp=(session_of(1, LinkRole.IPV6),))
    quiet = replace(leaf.ports[2], links=())
    for other, touched in (
        (leaf, []),
        (replace(leaf, dhcp_servers=leaf.dhcp_servers[:1]), [0, 1, 2]),
        (replace(leaf, ports=(leaf.ports[0], session, leaf.ports[2])), [1]),
        (replace(leaf, ports=(*leaf.ports[:2], quiet)), [2]),
        (replace(leaf, fabric=FABRIC), [0, 1, 2]),
    ):
        for one, another in ((leaf, other), (other, leaf)):
            found = touched_ports(desired_objects(one), desired_objects(another))
            assert found == [PORTS[number] for number in touched]

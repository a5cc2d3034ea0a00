"""Which objects are ours, what is kept of a reading, and what an operator accepted in place of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from netconf.desired import Exemption, Leaf, LinkRole, Profile
from netconf.drift import Drift, difference, drift_of
from netconf.names import is_ours
from netconf.owned import (
    Key,
    desired_objects,
    digest,
    edit,
    foreign_ports,
    from_xml,
    owned_objects,
    plain,
    relevant,
    rendered_objects,
    to_xml,
)
from netconf.render import Element, configuration
from service.lab.leaf.datastore import apply_edit
from service.lab.leaf.foreign import without_ours
from tests.netconf.junos_models import dangling
from tests.netconf.leaves import FABRIC, PORTS, boot6_of, leaf_of, leaves, port_of
from tests.netconf.test_mixture import foreign, texts

LEAF = leaf_of(port_of(0, Profile.ACTIVE), port_of(1, Profile.QUARANTINE), fabric=FABRIC)
INTERFACE = ("interfaces", "interface", PORTS[0])
FILTER = ("firewall", "family", "inet", "filter", f"rh4-{PORTS[0]}")
OWN_LIST = ("policy-options", "prefix-list", f"rh4-own-{PORTS[0]}")


def running(leaf: Leaf) -> Element:
    """What a leaf runs that is as desired, beside what is somebody else's."""
    root = foreign()
    change = edit(desired_objects(leaf), {})
    if change is not None:
        apply_edit(root, change)
    return root


def _found(root: Element, path: str) -> Element:
    found = root.find(path)
    assert found is not None
    return found


def accepted(drift: Drift, *keys: Key) -> tuple[Exemption, ...]:
    return tuple(Exemption(one.key, one.instead_of, one.xml) for one in drift.objects if not keys or one.key in keys)


@pytest.mark.parametrize(("name", "ours"), {"rh": True, "rh-host": True, "rh4-x": True, "rh6-x": True, "rhine": False,
    "rh4": False, "rh5-x": False, "rh-": False, "RH-x": False, "": False, "x-rh-y": False}.items())  # fmt: skip
def test_names_of_ours(name: str, ours: bool) -> None:
    assert is_ours(name) is ours


@settings(max_examples=30, deadline=None)
@given(leaf=leaves())
def test_what_is_kept_of_a_reading_tells_the_same_as_all_of_it(leaf: Leaf) -> None:
    read = running(leaf)
    kept = from_xml(to_xml(relevant(read, PORTS)))
    assert texts(owned_objects(kept)) == texts(owned_objects(read)) == texts(desired_objects(leaf))
    assert foreign_ports(kept, leaf) == foreign_ports(read, leaf) == {}
    assert b"rhine" not in etree.tostring(kept)
    assert etree.tostring(without_ours(read)) == etree.tostring(foreign())
    assert not drift_of(leaf, kept)
    assert not difference(kept, desired_objects(leaf))


def test_ports_on_which_somebody_elses_configuration_stands() -> None:
    root = foreign()
    interfaces = _found(root, "interfaces")
    for name, inside in (
        (PORTS[0], "<description>rhine office</description><unit><name>0</name></unit>"),
        (PORTS[1], ""),
        (PORTS[2], "<description>rh g=1 active</description>"),
        (PORTS[3], "<disable/>"),
        (PORTS[4], "<disable/>"),
        (PORTS[5], "<disable/>"),
    ):
        interfaces.append(etree.fromstring(f"<interface><name>{name}</name>{inside}</interface>"))
    ports = [port_of(number, Profile.ACTIVE) for number in range(5)]
    leaf = leaf_of(*ports[:3], replace(ports[3], take_over=True), replace(ports[4], links=()))
    assert foreign_ports(root, leaf) == {
        PORTS[0]: f'set interfaces {PORTS[0]} description "rhine office"\nset interfaces {PORTS[0]} unit 0'
    }
    assert foreign_ports(relevant(root, PORTS), leaf) == foreign_ports(root, leaf)
    told = difference(root, desired_objects(leaf))
    assert f'[edit interfaces {PORTS[0]}]\n-  description "rhine office";' in told.text
    assert f"set interfaces {PORTS[3]} disable" in told.removed
    assert told.ports == tuple(PORTS[:4])


def test_what_is_deactivated_is_not_there() -> None:
    root = running(LEAF)
    _found(root, f"firewall/family/inet/filter[name='rh4-{PORTS[0]}']/term[name='spoof']").set("inactive", "inactive")
    _found(root, f"interfaces/interface[name='{PORTS[1]}']").set("inactive", "inactive")
    found = {one.key: one.text for one in drift_of(LEAF, root).objects}
    assert "-  term spoof {" in found[FILTER]
    assert ("interfaces", "interface", PORTS[1]) in found


def test_drift_names_the_ports_that_an_object_belongs_to() -> None:
    root = running(LEAF)
    for path in (
        f"firewall/family/inet/filter[name='rh4-{PORTS[0]}']/interface-specific",
        "forwarding-options/dhcp-relay/server-group/server-group[name='rh']/address",
        "policy-options/community[name='rh-host']/members",
    ):
        one = _found(root, path)
        _found(one, "..").remove(one)
    found = {one.key[-1]: one.ports for one in drift_of(LEAF, root).objects}
    assert found == {f"rh4-{PORTS[0]}": (PORTS[0],), "rh": tuple(PORTS[:2]), "rh-host": tuple(PORTS[:2])}


def test_what_was_accepted_is_desired_until_something_else_is_rendered_there() -> None:
    root = running(LEAF)
    _found(root, f"interfaces/interface[name='{PORTS[0]}']/mtu").text = "1500"
    drift = drift_of(LEAF, root)
    assert [one.key for one in drift.objects] == [INTERFACE]
    content = LEAF.ports[0]
    easy = replace(LEAF, exempt=accepted(drift))
    assert not drift_of(easy, root)
    assert edit(desired_objects(easy), owned_objects(root)) is None
    other = replace(easy, ports=(replace(content, generation=2), *LEAF.ports[1:]))
    assert texts(desired_objects(other)) == texts(rendered_objects(other))
    # It is not ours to accept that nothing stands where something is referred to.
    bare = replace(LEAF, exempt=(Exemption(OWN_LIST, digest(rendered_objects(LEAF)[OWN_LIST]), ""),))
    assert texts(desired_objects(bare)) == texts(rendered_objects(LEAF))


def test_an_interface_that_somebody_took_for_himself_may_be_left_to_him() -> None:
    root = running(LEAF)
    _found(root, f"interfaces/interface[name='{PORTS[0]}']/description").text = "mine now"
    drift = drift_of(LEAF, root)
    assert '+  description "mine now";' in drift.text
    easy = replace(LEAF, exempt=accepted(drift))
    assert not drift_of(easy, root)
    assert edit(desired_objects(easy), owned_objects(root)) is None


@settings(max_examples=40, deadline=None)
@given(old=leaves(), new=leaves(), data=st.data())
def test_whatever_drifted_and_was_accepted_is_at_rest(old: Leaf, new: Leaf, data: st.DataObject) -> None:
    root = running(old)
    drift = drift_of(new, root)
    told = difference(root, desired_objects(new))
    assert bool(drift) is (edit(desired_objects(new), owned_objects(root)) is not None) is bool(told)
    assert texts(owned_objects(root)) == texts(desired_objects(replace(new, exempt=accepted(drift))))
    assert {one.key: one.text != "" for one in drift.objects} == {one.key: True for one in drift.objects}
    # With some of it accepted, what is then desired can be reached, is whole, and is where it is said to be.
    some = data.draw(st.lists(st.sampled_from([one.key for one in drift.objects] or [INTERFACE]), unique=True))
    easy = replace(new, exempt=accepted(drift, *some) if some else ())
    wanted = desired_objects(easy)
    if (change := edit(wanted, owned_objects(root))) is not None:
        apply_edit(root, change)
    assert texts(owned_objects(root)) == texts(wanted)
    # An interface that is named need not be there, for Junos; all else must.
    assert [one for one in dangling(root) if not one.startswith("interfaces/")] == []
    assert not drift_of(easy, root)


def test_configuration_and_objects_are_the_same() -> None:
    assert texts(owned_objects(plain(configuration(LEAF)))) == texts(rendered_objects(LEAF))


def test_links_of_both_families_have_an_order() -> None:
    links = [boot6_of(1), *reversed(port_of(1, Profile.ACTIVE).links)]
    ordered = sorted(links)
    assert [(link.role, link.leaf.version) for link in ordered] == [
        (LinkRole.BOOT, 4),
        (LinkRole.BOOT, 6),
        (LinkRole.IPV6, 6),
        (LinkRole.PRIVATE, 4),
        (LinkRole.PUBLIC, 4),
    ]

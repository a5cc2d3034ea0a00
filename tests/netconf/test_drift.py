"""What somebody changed on a leaf behind our back: found, told as Junos tells it, and only if it is ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from netconf.compare import compared
from netconf.desired import Profile
from netconf.drift import Drift, drift_of
from netconf.owned import owned_objects
from netconf.render import Element, configuration
from netconf.session import LeafSession
from netconf.transaction import apply, read_running
from service.lab.leaf import VirtualLeaf
from tests.netconf.test_transaction import leaf_of, port

WANTED = leaf_of(port(0, Profile.ACTIVE), port(1, Profile.QUARANTINE))


async def drift(session: LeafSession) -> Drift:
    return drift_of(WANTED, await read_running(session))


@pytest.fixture
async def session(session: LeafSession) -> LeafSession:
    await apply(session, WANTED)
    return session


def _one(running: Element, path: str) -> Element:
    found = running.find(path)
    assert found is not None
    return found


def _another_mtu(running: Element) -> None:
    _one(running, "interfaces/interface[name='xe-0/0/1']/mtu").text = "1500"


def _no_filter(running: Element) -> None:
    unit = _one(running, "interfaces/interface[name='xe-0/0/1']/unit/family/inet")
    unit.remove(_one(unit, "filter"))


def _an_address_more(running: Element) -> None:
    unit = _one(running, "interfaces/interface[name='xe-0/0/0']/unit/family/inet")
    unit.append(etree.fromstring("<address><name>192.0.2.1/24</name></address>"))


def _a_list_that_we_never_made(running: Element) -> None:
    item = "<prefix-list-item><name>192.0.2.7/32</name></prefix-list-item>"
    made = etree.fromstring(f"<prefix-list><name>rh4-own-xe-0/0/7</name>{item}</prefix-list>")
    _one(running, "policy-options").append(made)


def _no_relay(running: Element) -> None:
    running.remove(_one(running, "forwarding-options"))


def _spoof_first(running: Element) -> None:
    entry = _one(running, "firewall/family/inet6/filter[name='rh6-xe-0/0/1']")
    spoof = _one(entry, "term[name='spoof']")
    entry.remove(spoof)
    entry.insert(1, spoof)


def _open_filter(running: Element) -> None:
    then = _one(running, "firewall/family/inet6/filter[name='rh6-xe-0/0/1']/term[name='spoof']/then")
    then[:] = [etree.Element("accept")]


_CASES: list[tuple[Callable[[Element], None], str]] = [
    (
        _another_mtu,
        """\
[edit interfaces xe-0/0/1]
-  mtu 9216;
+  mtu 1500;
""",
    ),
    (
        _no_filter,
        """\
[edit interfaces xe-0/0/1 unit 0 family inet]
-  filter {
-      input rh4-xe-0/0/1;
-  }
""",
    ),
    (
        _an_address_more,
        """\
[edit interfaces xe-0/0/0 unit 0 family inet]
+  address 192.0.2.1/24;
""",
    ),
    (
        _a_list_that_we_never_made,
        """\
[edit policy-options]
+  prefix-list rh4-own-xe-0/0/7 {
+      192.0.2.7/32;
+  }
""",
    ),
    (
        _no_relay,
        """\
[edit forwarding-options dhcp-relay]
-  group rh {
-      active-server-group rh;
-      forward-only;
-      interface xe-0/0/0.0;
-      interface xe-0/0/1.0;
-      relay-option-82 {
-          circuit-id;
-          remote-id {
-              hostname-only;
-          }
-      }
-  }
[edit forwarding-options dhcp-relay server-group]
-  rh {
-      192.0.2.10;
-  }
""",
    ),
    (
        _spoof_first,
        """\
[edit firewall family inet6 filter rh6-xe-0/0/1]
!  term spoof { ... }
!  term neighbour { ... }
""",
    ),
    (
        _open_filter,
        """\
[edit firewall family inet6 filter rh6-xe-0/0/1 term spoof then]
-  count spoof;
-  discard;
+  accept;
""",
    ),
]


@pytest.mark.parametrize(("change", "text"), _CASES, ids=lambda one: getattr(one, "__name__", ""))
async def test_drift_is_told_as_junos_tells_it_and_repaired_by_applying(
    leaf: VirtualLeaf, session: LeafSession, change: Callable[[Element], None], text: str
) -> None:
    assert not await drift(session)
    change(leaf.running)
    seen = await drift(session)
    assert seen.text == text
    assert (len(seen.added) + len(seen.removed) > 0) is ("!" not in text)
    leaf.candidate = etree.fromstring(etree.tostring(leaf.running))
    assert (await apply(session, WANTED)).changed
    assert not await drift(session)


async def test_what_is_not_ours_does_not_drift(leaf: VirtualLeaf, session: LeafSession) -> None:
    _one(leaf.running, "system/host-name").text = "renamed"
    _one(leaf.running, "interfaces/interface[name='et-0/0/48']/mtu").text = "1500"
    seen = await drift(session)
    assert (seen.added, seen.removed, seen.text) == ((), (), "")


_PROFILES = st.lists(st.sampled_from([None, *Profile]), min_size=4, max_size=4)


@given(old=_PROFILES, new=_PROFILES)
def test_there_is_a_difference_to_tell_exactly_when_there_is_one(
    old: list[Profile | None], new: list[Profile | None]
) -> None:
    one, other = (
        owned_objects(configuration(leaf_of(*(port(number, what) for number, what in enumerate(profiles) if what))))
        for profiles in (old, new)
    )
    text = compared(one, other)
    same = {key: etree.tostring(one[key]) for key in one} == {key: etree.tostring(other[key]) for key in other}
    assert (text == "") is same
    assert all(line.startswith(("[edit ", "+  ", "-  ")) for line in text.splitlines())
    turned = {"+": "-", "-": "+"}
    back = [turned.get(line[0], line[0]) + line[1:] for line in compared(other, one).splitlines()]
    assert sorted(back) == sorted(text.splitlines())

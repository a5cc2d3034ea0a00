"""Configuration in words, as the virtual leaf reads and writes it."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from netconf.desired import Profile
from netconf.owned import owned_objects, plain, set_lines
from netconf.render import Element, configuration
from service.lab.leaf import shown
from service.lab.leaf.datastore import EditError, apply_edit
from service.lab.leaf.foreign import configuration_before
from service.lab.leaf.words import commands, text_edit
from tests.netconf.test_transaction import leaf_of, port

_PROFILES = st.lists(st.sampled_from([None, *Profile]), min_size=8, max_size=8)


def whole(profiles: list[Profile | None]) -> Element:
    """A leaf's configuration with ours in it."""
    root = configuration_before("leaf1")
    ports = (port(number, one) for number, one in enumerate(profiles) if one is not None)
    apply_edit(root, configuration(leaf_of(*ports)))
    return root


def same(one: Element, other: Element) -> bool:
    return etree.tostring(plain(one)) == etree.tostring(plain(other))


@settings(max_examples=30, deadline=None)
@given(profiles=_PROFILES)
def test_a_configuration_is_the_same_after_being_text_or_set_commands(profiles: list[Profile | None]) -> None:
    original = whole(profiles)
    from_text, from_set = etree.Element("configuration"), etree.Element("configuration")
    apply_edit(from_text, text_edit("\n".join(shown.text_lines(original))))
    for one in commands("\n".join(shown.set_lines(original))):
        assert not isinstance(one, EditError), one.bad_element
        apply_edit(from_set, one)
    assert same(from_text, original)
    assert same(from_set, original)


@settings(max_examples=30, deadline=None)
@given(before=_PROFILES, after=_PROFILES)
def test_a_delta_makes_one_configuration_of_another(before: list[Profile | None], after: list[Profile | None]) -> None:
    old, new = whole(before), whole(after)
    made, changes = copy.deepcopy(old), shown.delta(old, new)
    assert (changes is None) == same(old, new) == (not list(shown.compared(old, new)))
    if changes is not None:
        apply_edit(made, changes)
    assert same(made, new)


def test_the_leaf_and_the_driver_write_the_same_set_commands() -> None:
    ours = configuration(leaf_of(*(port(number, profile) for number, profile in enumerate(Profile))))
    assert sorted(shown.set_lines(ours)) == sorted(set_lines(owned_objects(ours)))


def test_terms_that_change_places_are_a_change() -> None:
    old = whole([Profile.ACTIVE, *([None] * 7)])
    new = copy.deepcopy(old)
    (one,) = (one for one in new.iterfind("firewall/family/inet/filter") if one.findtext("name") == "rh4-xe-0/0/0")
    terms = one.findall("term")
    one.remove(terms[0])
    one.append(terms[0])
    changes = shown.delta(old, new)
    assert changes is not None
    apply_edit(old, changes)
    assert same(old, new)
    lines = list(shown.compared(whole([Profile.ACTIVE, *([None] * 7)]), new))
    assert lines[0] == "[edit firewall family inet filter rh4-xe-0/0/0]"
    assert lines[1].startswith("!   term ")

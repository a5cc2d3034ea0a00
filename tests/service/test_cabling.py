"""Who is plugged in where: what ports see, against where machines are recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from netconf.lldp import LldpNeighbor
from service.leaves.cabling import Plug, findings, seen_at_ports

SINCE = datetime(2026, 11, 21, tzinfo=UTC)


def mac_of(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def plug(number: int, seen: int | None, *, machine: bool = True, name: str | None = None) -> Plug:
    """Port `number` of leaf1, where machine `number` is recorded, and who is seen there."""
    who, mac = (f"m{number}", mac_of(number)) if machine else (None, None)
    seen_mac = None if seen is None else mac_of(seen)
    return Plug(uuid4(), "leaf1", f"xe-0/0/{number}", who, mac, seen_mac, name, SINCE)


def test_the_machine_that_belongs_there_and_nobody_are_no_findings() -> None:
    assert findings([plug(1, 1), plug(2, None), plug(3, None, machine=False)]) == []


def test_a_swap_names_both_machines_and_both_ports() -> None:
    first, second = findings([plug(1, 2), plug(2, 1)])
    assert first.swapped and second.swapped
    assert first.sentence == "m1 and m2 are swapped: leaf1 xe-0/0/1 sees m2, leaf1 xe-0/0/2 m1"
    assert (first.at.machine, first.seen and first.seen.machine) == ("m1", "m2")


def test_a_machine_in_another_port_is_named_with_both_ports() -> None:
    (found,) = findings([plug(1, None), plug(2, 1, machine=False)])
    assert not found.swapped
    assert (
        found.sentence
        == "m1 is plugged into leaf1 xe-0/0/2 and is recorded at leaf1 xe-0/0/1; nobody is recorded there"
    )
    (found,) = findings([plug(1, None), plug(2, 1)])
    assert found.sentence.endswith("recorded at leaf1 xe-0/0/1; m2 was expected there")


def test_a_stranger_is_named_as_he_names_himself() -> None:
    (found,) = findings([plug(1, 9, name="toaster")])
    assert found.seen is None
    assert found.sentence == (
        "leaf1 xe-0/0/1: toaster (02:00:00:00:00:09) is seen, whom we do not know; m1 (02:00:00:00:00:01) was expected"
    )


def test_of_several_addresses_the_one_of_a_known_machine_counts() -> None:
    neighbors = [
        LldpNeighbor("xe-0/0/1", mac_of(1), mac_of(2), system_name="m2"),
        LldpNeighbor("xe-0/0/2", mac_of(3), "eth0"),
        LldpNeighbor("xe-0/0/3", "a chassis of another kind", "eth0", system_name="odd"),
    ]
    ports = [f"xe-0/0/{number}" for number in range(1, 5)]
    assert seen_at_ports(ports, neighbors, {mac_of(1)}) == [
        ("xe-0/0/1", mac_of(1), "m2"),
        ("xe-0/0/2", mac_of(3), None),
        ("xe-0/0/3", None, "odd"),
        ("xe-0/0/4", None, None),
    ]
    assert seen_at_ports(ports[:1], neighbors, set()) == [("xe-0/0/1", mac_of(2), "m2")]


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_exactly_the_ports_that_see_another_machine_are_found(cables: list[int], dark: set[int]) -> None:
    plugs = [plug(number, None if number in dark else cables[number]) for number in range(8)]
    found = {one.at.port: one for one in findings(plugs)}
    wrong = {number for number in range(8) if number not in dark and cables[number] != number}
    assert found.keys() == {f"xe-0/0/{number}" for number in wrong}
    for number in wrong:
        other = cables[number]
        crosswise = other in wrong and cables[other] == number
        assert found[f"xe-0/0/{number}"].swapped == crosswise

"""Who gets which address, from where a request came and what its relay said; what was seen is handed on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Arch, BootRequest, BootRequest6, Reading, Relayed6, Stage
from pxe.dhcp.circuit import readings
from service.boot.decider import BootDecider
from service.boot.facts import PortFacts
from service.boot.index import BootIndex
from service.lifecycle import MachineState
from tests.boot.ports import free, mac_of, port

URL = "http://192.0.2.10:8081"


class Node:
    """A decider over some ports, and what it saw."""

    def __init__(self, *ports: PortFacts) -> None:
        self.index = BootIndex()
        self.seen: list[tuple[UUID, str]] = []
        for facts in ports:
            self.index.put(facts)
        self.decider = BootDecider(
            self.index,
            boot_url=URL,
            boot_url6="http://[2001:db8:f::1]:8081",
            nameservers=("192.0.2.53", "2001:db8::53"),
            saw=lambda port_id, mac: self.seen.append((port_id, mac)),
        )

    def address(self, **asked: Any) -> str:
        """The address that is given, or why none is."""
        decision = self.decider.decide(request(**asked))
        return str(decision.lease.address) if decision.lease else decision.reason


def request(number: int = 0, circuit: str | None = "", remote: str | None = "leaf1", **changes: Any) -> BootRequest:
    """What comes by port `number`; with "" for its own circuit-id."""
    facts = port(number)
    assert facts.link is not None
    circuit_id = f"{facts.port}.0" if circuit == "" else circuit
    told: dict[str, Any] = {
        "stage": Stage.FIRMWARE,
        "arch": Arch.UEFI_X64,
        "mac": mac_of(number),
        "giaddr": facts.link.ip,
        "circuit_id": circuit_id,
        "remote_id": remote,
        "readings": readings(circuit_id.encode(), remote.encode() if remote else None) if circuit_id else (),
    }
    return BootRequest(**told | changes)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({}, "10.64.0.1/31"),
        ({"number": 3}, "10.64.0.7/31"),
        ({"circuit": None, "remote": None}, "10.64.0.1/31"),
        ({"remote": None}, "10.64.0.1/31"),
        ({"remote": "a-switch-we-do-not-know"}, "10.64.0.1/31"),
        ({"circuit": "\x01\x02"}, "10.64.0.1/31"),
        ({"circuit": "xe-0/0/0.0:host port"}, "10.64.0.1/31"),
        ({"circuit": "xe-0/0/3.0"}, "giaddr 10.64.0.0 is not leaf1 xe-0/0/3 (10.64.0.6)"),
        ({"circuit": "xe-0/0/40.0"}, "leaf1 xe-0/0/40 is no port of ours"),
        ({"giaddr": IPv4Address("10.64.0.6")}, "giaddr 10.64.0.6 is not leaf1 xe-0/0/0 (10.64.0.0)"),
        ({"giaddr": IPv4Address("10.9.9.9"), "circuit": None}, "giaddr 10.9.9.9 is in no boot link"),
        ({"giaddr": None}, "neither relayed nor renewing"),
        ({"giaddr": None, "ciaddr": IPv4Address("10.64.0.7")}, "10.64.0.7/31"),
        ({"giaddr": None, "ciaddr": IPv4Address("10.64.0.6")}, "10.64.0.6 is in no boot link"),
    ],
)
def test_the_port_decides(asked: dict[str, Any], answer: str) -> None:
    assert Node(port(0), port(3)).address(**asked) == answer


def test_a_port_without_boot_link_gets_silence_with_a_reason() -> None:
    node = Node(port(0, link=None), port(1))
    assert node.address() == "giaddr 10.64.0.0 is not leaf1 xe-0/0/0 (no boot link)"
    found = node.decider.decide6(request6(port(1, link6=None)))
    assert (found.lease is None, Node(port(1, link6=None)).decider.decide6(request6(port(1))).lease) == (False, None)


@given(
    st.sampled_from(Stage),
    st.sampled_from(Arch),
    st.integers(0, 5),
    st.sampled_from(MachineState),
    st.booleans(),
    st.binary(max_size=16),
)
def test_nothing_but_the_port_changes_the_address(
    stage: Stage, arch: Arch, number: int, state: MachineState, installed: bool, noise: bytes
) -> None:
    """Between ROM, iPXE, installer and system a client changes its MAC, its client-id and its stage; not its port."""
    node = Node(port(3, state=state, installed=installed), *(port(n) for n in (0, 1, 2, 4)))
    asked = request(3, stage=stage, arch=arch, mac=mac_of(number), uuid=noise.hex())
    lease = node.decider.decide(asked).lease
    assert lease is not None
    assert (str(lease.address), str(lease.router), lease.seconds) == ("10.64.0.7/31", "10.64.0.6", 600)
    assert [str(name) for name in lease.nameservers] == ["192.0.2.53"]


def test_ipxe_alone_gets_the_url_of_its_script_and_secure_boot_is_told() -> None:
    node = Node(port(0), port(1, secure_boot=True))
    decisions = {stage: node.decider.decide(request(stage=stage)) for stage in Stage}
    urls = {stage: decision.script_url for stage, decision in decisions.items()}
    assert urls == dict.fromkeys(Stage) | {Stage.IPXE: f"{URL}/boot/ipxe?mac={mac_of(0)}&arch=uefi-x64"}
    assert [node.decider.decide(request(number)).signed for number in (0, 1)] == [False, True]


def seen_at(facts: PortFacts, mac: str, stage: Stage) -> list[tuple[UUID, str]]:
    """What is handed on when that card asks at that port; machine 1 is recorded at port 1."""
    node = Node(facts, port(1))
    node.decider.decide(request(stage=stage, mac=mac))
    return node.seen


def test_who_boots_at_a_port_is_handed_on_when_it_is_news() -> None:
    mine, other, unknown = mac_of(0), mac_of(1), "02:ff:00:00:00:01"
    here, in_use = port(0), port(0, state=MachineState.IN_USE)
    told = UUID(int=1)
    assert seen_at(here, mine, Stage.FIRMWARE) == []
    assert seen_at(port(0, booted_mac=None), mine, Stage.FIRMWARE) == [(told, mine)]
    assert seen_at(port(0, booted_mac=other), mine, Stage.SYSTEM) == [(told, mine)]
    for stage in (Stage.FIRMWARE, Stage.HTTP_FIRMWARE, Stage.IPXE):
        assert seen_at(here, other, stage) == [(told, other)]
        assert seen_at(here, unknown, stage) == [(told, unknown)]
        assert seen_at(free(0), unknown, stage) == []
        assert seen_at(free(0), other, stage) == [(told, other)]
        # What runs on a customer's machine may boot guests of its own; only a machine of ours is news there.
        assert seen_at(in_use, unknown, stage) == []
        assert seen_at(in_use, other, stage) == [(told, other)]
    for facts in (here, in_use, free(0)):
        assert seen_at(facts, unknown, Stage.SYSTEM) == []
        assert seen_at(facts, other, Stage.SYSTEM) == []
    # Whoever waits for a machine at the wrong port hears of each of its boots; the right one is told once.
    assert seen_at(port(0, booted_mac=other), other, Stage.FIRMWARE) == [(told, other)]


def request6(facts: PortFacts, *, beyond: tuple[Relayed6, ...] = (), **changes: Any) -> Any:
    """What comes by the port over IPv6."""
    relay = relayed6(facts)
    told: dict[str, Any] = {
        "stage": Stage.IPXE,
        "arch": Arch.UEFI_ARM64,
        "duid": b"\0\3",
        "mac": facts.mac,
        "link_address": relay.link_address,
        "interface_id": relay.interface_id,
        "remote_id": relay.remote_id,
        "readings": relay.readings,
        "beyond": beyond,
    }
    return BootRequest6(**told | changes)


def relayed6(facts: PortFacts) -> Relayed6:
    """What the leaf's relay tells of the port."""
    link = port(facts.port_id.int - 1).link6
    assert link is not None
    return Relayed6(link.ip, f"{facts.port}.0", facts.leaf, (Reading(facts.port, facts.leaf),))


def test_over_ipv6_the_port_decides_as_well() -> None:
    node = Node(port(0), port(3))
    found = node.decider.decide6(request6(port(3)))
    assert found.lease is not None
    assert (str(found.lease.address), [str(name) for name in found.lease.nameservers]) == (
        "2001:db8::7/127",
        ["2001:db8::53"],
    )
    assert found.script_url == f"http://[2001:db8:f::1]:8081/boot/ipxe?arch=uefi-arm64&mac={mac_of(3)}"
    elsewhere = request6(port(3), link_address=IPv6Address("2001:db8::"))
    assert node.decider.decide6(elsewhere).reason == "giaddr 2001:db8:: is not leaf1 xe-0/0/3 (2001:db8::6)"
    renewing = request6(port(3), link_address=None, readings=(), addresses=(IPv6Address("2001:db8::7"),))
    assert node.decider.decide6(renewing).lease == found.lease


def test_a_host_that_plays_the_relay_of_another_port_is_known_by_the_real_relay() -> None:
    node = Node(port(0), port(3))
    forged = request6(port(3), beyond=(relayed6(port(0)),))
    found = node.decider.decide6(forged)
    assert found.lease is not None and str(found.lease.address) == "2001:db8::1/127"
    honest = request6(port(3), beyond=(Relayed6(IPv6Address("2001:db8:77::1"), None, "spine1"),))
    found = node.decider.decide6(honest)
    assert found.lease is not None and str(found.lease.address) == "2001:db8::7/127"

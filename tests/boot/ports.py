"""Ports for the tests of boot decisions."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import Any
from uuid import UUID

from service.boot.facts import PortFacts
from service.lifecycle import MachineState


def mac_of(number: int) -> str:
    """The card of machine `number`."""
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def port(number: int, **changes: Any) -> PortFacts:
    """Port `number` with its boot links and a machine in the pool."""
    known: dict[str, Any] = {
        "port_id": UUID(int=number + 1),
        "leaf": f"leaf{number // 48 + 1}",
        "port": f"xe-0/0/{number % 48}",
        "facility": "ewr1",
        "link": IPv4Interface((0x0A400000 + 2 * number, 31)),
        "link6": IPv6Interface(((0x20010DB8 << 96) + 2 * number, 127)),
        "booted_mac": mac_of(number),
        "machine_id": UUID(int=number + 1_000_000),
        "machine": f"m{number}",
        "mac": mac_of(number),
        "state": MachineState.READY,
    }
    return PortFacts(**known | changes)


def free(number: int, **changes: Any) -> PortFacts:
    """Port `number` with its boot links, where nobody is recorded."""
    nobody = {"machine_id": None, "machine": None, "mac": None, "state": None, "booted_mac": None}
    return port(number, **nobody | changes)

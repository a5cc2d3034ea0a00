"""What is found at a free port: whether it may come in by itself, and what it will be called. Pure.

Whoever boots at a port says what it likes. What it says is held against what the leaf says and against what is
recorded; where two of them disagree, a person has to look.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.inventories import cable_finding

ALIVE = timedelta(seconds=45)  # an agent asks for work more often
_BAD = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Found:
    """One card that said hello at a free port, and was heard at `seen_at` last."""

    mac: str
    inventory: Mapping[str, Any]
    first_seen_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """The free port: how it is called, what stands there, and whom the leaf itself sees (by LLDP, since `seen_at`)."""

    facility: str
    leaf: str
    port: str
    rack: str | None
    unit: int | None
    seen_mac: str | None
    seen_at: datetime | None

    @property
    def where(self) -> str:
        """The port's name among those of all leaves."""
        return f"{self.leaf} {self.port}"


@dataclass(frozen=True, slots=True)
class Known:
    """A machine that has one of the cards, or the serial number."""

    name: str
    mac: str
    retired: bool
    where: str | None
    by: str  # "network card 02:..." or "serial number X"


def alive(found: Sequence[Found], now: datetime) -> list[Found]:
    """Those that are there, the latest first."""
    return sorted((one for one in found if now - one.seen_at <= ALIVE), key=lambda one: one.first_seen_at, reverse=True)


def macs_of(found: Found) -> list[str]:
    """The addresses of the machine's cards: the one that booted first."""
    nics = found.inventory.get("nics")
    listed = [nic.get("mac") for nic in nics if isinstance(nic, dict)] if isinstance(nics, list) else []
    return list(dict.fromkeys(mac for mac in (found.mac, *listed) if isinstance(mac, str) and mac))


def serial_of(found: Found) -> str:
    """The machine's serial number as its firmware tells it; empty where it does not."""
    system = found.inventory.get("system")
    return str(system.get("product_serial") or "") if isinstance(system, dict) else ""


def objection(there: Sequence[Found], place: Place, known: Sequence[Known]) -> str | None:
    """Why what is at the port may not come in by itself, as a sentence for whoever goes there; None where it may.

    `there` are those alive at the port, `known` the machines that have something in common with the latest of them.
    """
    if not there:
        return f"{place.where}: what was found there has fallen silent"
    if len(there) > 1:
        cards = " and ".join(sorted(one.mac for one in there))
        return f"{place.where}: {len(there)} machines say hello there, {cards}; a port has one machine's cable"
    one = there[0]
    if wrong := cable_finding(one.inventory, machine="the machine", mac=one.mac, leaf=place.leaf, port=place.port):
        return wrong
    if (
        place.seen_mac is not None
        and place.seen_at is not None
        and place.seen_at >= one.first_seen_at
        and place.seen_mac not in macs_of(one)
    ):
        return f"{place.where}: {one.mac} says hello there, and the leaf sees {place.seen_mac}"
    for other in known:
        if other.retired:
            return (
                f"{place.where}: by its {other.by} this is {other.name}, which was retired; import it to have it back"
            )
        return f"{place.where}: by its {other.by} this is {other.name}, which is recorded at {other.where}"
    return None


def name_for(schemes: str, place: Place, serial: str) -> str | None:
    """The machine's name by the first of the schemes (divided by |) whose fields are all known; None for none.

    Fields are {facility}, {rack}, {unit}, {leaf}, {port} and {serial}; what a name may not have becomes a hyphen.
    """
    fields = {
        "facility": place.facility,
        "rack": place.rack,
        "unit": None if place.unit is None else f"u{place.unit:02}",
        "leaf": place.leaf,
        "port": place.port,
        "serial": serial or None,
    }
    for scheme in schemes.split("|"):
        wanted = [field for _, field, _, _ in string.Formatter().parse(scheme) if field is not None]
        if wanted and all(fields.get(field) for field in wanted):
            return _BAD.sub("-", scheme.strip().format(**fields).lower()).strip("-.")[:63]
    return None

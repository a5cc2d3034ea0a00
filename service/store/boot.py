"""Boot nodes, machines that nobody has enrolled, and cables in the wrong place, as operators look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

SILENT = timedelta(seconds=30)  # a node that was not heard of for so long is gone, or has lost the database


@dataclass(frozen=True, slots=True)
class BootNode:
    """A process that answers DHCP, TFTP and HTTP boot at `address`; `ports` is how many it knows."""

    id: UUID
    host: str
    pid: int
    address: str
    started_at: datetime
    seen_at: datetime
    ports: int
    loaded_at: datetime | None
    counters: dict[str, int]

    def silent(self, now: datetime) -> bool:
        """Whether nothing was heard of it for too long."""
        return now - self.seen_at > SILENT


@dataclass(frozen=True, slots=True)
class Discovery:
    """A machine that waits in the installer at a free port until somebody enrols it."""

    leaf: str
    port: str
    facility: str
    mac: str
    inventory: dict[str, Any]
    first_seen_at: datetime
    seen_at: datetime
    state: str  # "waiting" while it is looked at, "quarantined" with a reason when something spoke against it
    reason: str | None
    state_since: datetime

    # What a stranger tells of itself may have any form: whatever is not as it should be is left out.

    @property
    def system(self) -> str:
        """Who made it, what it is, and its serial number."""
        told = self._part("system")
        words = (told.get(name) for name in ("sys_vendor", "product_name", "product_serial"))
        return " ".join(word for word in words if isinstance(word, str) and word)

    @property
    def cpu(self) -> str:
        """The processor's name."""
        model = self._part("cpu").get("model")
        return model if isinstance(model, str) else ""

    @property
    def memory_bytes(self) -> int:
        """How much memory it has; 0 where it does not say."""
        told = self.inventory.get("memory_bytes")
        return told if isinstance(told, int) else 0

    @property
    def disks_bytes(self) -> list[int]:
        """How large its disks are."""
        disks = self.inventory.get("disks")
        sizes = [disk.get("bytes") for disk in disks if isinstance(disk, dict)] if isinstance(disks, list) else []
        return [size for size in sizes if isinstance(size, int)]

    def _part(self, name: str) -> dict[str, Any]:
        part = self.inventory.get(name)
        return part if isinstance(part, dict) else {}


@dataclass(frozen=True, slots=True)
class WrongCable:
    """A port at which another machine booted last than the one that is recorded there.

    `home_*` is where the one that was seen is recorded, if it is one of ours.
    """

    port_id: UUID
    leaf: str
    port: str
    seen_mac: str
    machine_id: UUID | None
    machine: str | None
    mac: str | None
    device_id: UUID | None
    home_id: UUID | None
    home_machine: str | None
    home_device_id: UUID | None
    home_leaf: str | None
    home_port: str | None

    @property
    def sentence(self) -> str:
        """What is wrong, for whoever goes there."""
        who = f"{self.home_machine} ({self.seen_mac})" if self.home_machine else f"MAC {self.seen_mac}"
        expected = f"{self.home_leaf} {self.home_port}" if self.home_machine else "no port"
        belongs = f", where {self.machine} ({self.mac}) belongs" if self.machine else ", which has no machine"
        return f"{who}: expected {expected}, seen {self.leaf} {self.port}{belongs}"


async def boot_nodes(conn: Connection) -> list[BootNode]:
    """All that were heard of within a day."""
    return [BootNode(**row) for row in await conn.fetch(Q["boot_nodes"])]


async def discoveries(conn: Connection) -> list[Discovery]:
    """All, by facility, leaf and port."""
    return [Discovery(**row) for row in await conn.fetch(Q["discoveries"])]


async def wrong_cables(conn: Connection) -> list[WrongCable]:
    """All of this moment, by leaf and port."""
    seen = {row["id"]: row for row in await conn.fetch(Q["booted_elsewhere"])}
    return await wrong_cables_of(conn, {port_id: row["mac"] for port_id, row in seen.items()})


async def wrong_cables_of(conn: Connection, seen: Mapping[UUID, str]) -> list[WrongCable]:
    """Those among ports at which these cards were seen."""
    return [WrongCable(**row) for row in await conn.fetch(Q["wrong_cables_of"], list(seen), list(seen.values()))]

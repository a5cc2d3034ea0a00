"""Whose address a call comes from: the port's machine on a boot link, the device's on its own links."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from service.lifecycle import MachineState
from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Caller:
    """The machine that an address belongs to now."""

    machine_id: UUID
    device_id: UUID | None
    state: MachineState


async def machine_at(db: Connection, source: IPv4Address | IPv6Address | None) -> Caller | None:
    """The machine at the other end of that address; None where it is nobody's."""
    if source is None:
        return None
    row = await db.fetchrow(Q["machine_at_source" if source.version == 4 else "machine_at_source6"], source)
    return None if row is None else Caller(row["machine_id"], row["device_id"], MachineState(row["state"]))

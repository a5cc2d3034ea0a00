"""The state machines of device, machine and leaf: tables of data, drawn into the docs by `python -m service.lifecycle`.

A device is what a customer ordered; a machine is the hardware. They are two state machines, so that a device can
change its machine. A state that waits for something names its exit: the event that ends the wait when its budget
is used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IllegalMove(ValueError):
    """The event does not fit the state."""


class DeviceState(StrEnum):
    """The dialect's states; no others may be shown to its clients."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    FAILED = "failed"
    REINSTALLING = "reinstalling"
    POWERING_OFF = "powering_off"
    INACTIVE = "inactive"
    POWERING_ON = "powering_on"
    DELETED = "deleted"


class DeviceEvent(StrEnum):
    """What moves a device."""

    PLACED = "placed"
    PROVED = "proved"
    GAVE_UP = "gave_up"
    REINSTALL = "reinstall"
    POWER_OFF = "power_off"
    POWERED_OFF = "powered_off"
    POWER_ON = "power_on"
    POWERED_ON = "powered_on"
    DELETE = "delete"


class MachineState(StrEnum):
    """A machine's life at this provider."""

    ENROLLED = "enrolled"
    PREPARING = "preparing"
    READY = "ready"
    INSTALLING = "installing"
    IN_USE = "in_use"
    QUARANTINED = "quarantined"
    MAINTENANCE = "maintenance"
    RETIRED = "retired"


class MachineEvent(StrEnum):
    """What moves a machine."""

    PREPARE = "prepare"
    PREPARED = "prepared"
    PLACE = "place"
    ACTIVATE = "activate"
    REINSTALL = "reinstall"
    FAIL = "fail"
    MAINTAIN = "maintain"
    GIVE_BACK = "give_back"
    RETIRE = "retire"


class LeafState(StrEnum):
    """What is known of a leaf."""

    UNKNOWN = "unknown"
    IN_SYNC = "in_sync"
    CHANGING = "changing"
    REFUSED = "refused"
    LOCKED = "locked"
    UNREACHABLE = "unreachable"


class LeafEvent(StrEnum):
    """What moves a leaf."""

    CHANGE = "change"
    APPLIED = "applied"
    REFUSE = "refuse"
    WAIT = "wait"
    LOSE = "lose"
    READ = "read"


_D, _DE = DeviceState, DeviceEvent
DEVICE: dict[tuple[DeviceState, DeviceEvent], DeviceState] = {
    (_D.QUEUED, _DE.PLACED): _D.PROVISIONING,
    # A machine that failed was replaced: the device is placed again and stays where it was.
    (_D.PROVISIONING, _DE.PLACED): _D.PROVISIONING,
    (_D.PROVISIONING, _DE.PROVED): _D.ACTIVE,
    (_D.QUEUED, _DE.GAVE_UP): _D.FAILED,
    (_D.PROVISIONING, _DE.GAVE_UP): _D.FAILED,
    (_D.ACTIVE, _DE.REINSTALL): _D.REINSTALLING,
    (_D.REINSTALLING, _DE.PROVED): _D.ACTIVE,
    (_D.REINSTALLING, _DE.GAVE_UP): _D.FAILED,
    (_D.ACTIVE, _DE.POWER_OFF): _D.POWERING_OFF,
    (_D.POWERING_OFF, _DE.POWERED_OFF): _D.INACTIVE,
    (_D.POWERING_OFF, _DE.GAVE_UP): _D.ACTIVE,
    (_D.INACTIVE, _DE.POWER_ON): _D.POWERING_ON,
    (_D.POWERING_ON, _DE.POWERED_ON): _D.ACTIVE,
    (_D.POWERING_ON, _DE.GAVE_UP): _D.INACTIVE,
    **{(state, _DE.DELETE): _D.DELETED for state in _D if state is not _D.DELETED},
}

_M, _ME = MachineState, MachineEvent
MACHINE: dict[tuple[MachineState, MachineEvent], MachineState] = {
    (_M.ENROLLED, _ME.PREPARE): _M.PREPARING,
    (_M.PREPARING, _ME.PREPARED): _M.READY,
    (_M.READY, _ME.PLACE): _M.INSTALLING,
    (_M.INSTALLING, _ME.ACTIVATE): _M.IN_USE,
    (_M.IN_USE, _ME.REINSTALL): _M.INSTALLING,
    # Back to the pool leads through preparation alone: it erases, and only its certificate opens the pool.
    (_M.INSTALLING, _ME.PREPARE): _M.PREPARING,
    (_M.IN_USE, _ME.PREPARE): _M.PREPARING,
    (_M.READY, _ME.PREPARE): _M.PREPARING,
    (_M.QUARANTINED, _ME.PREPARE): _M.PREPARING,
    (_M.PREPARING, _ME.FAIL): _M.QUARANTINED,
    (_M.READY, _ME.FAIL): _M.QUARANTINED,
    (_M.ENROLLED, _ME.MAINTAIN): _M.MAINTENANCE,
    (_M.READY, _ME.MAINTAIN): _M.MAINTENANCE,
    (_M.QUARANTINED, _ME.MAINTAIN): _M.MAINTENANCE,
    (_M.MAINTENANCE, _ME.GIVE_BACK): _M.ENROLLED,
    (_M.ENROLLED, _ME.RETIRE): _M.RETIRED,
    (_M.QUARANTINED, _ME.RETIRE): _M.RETIRED,
    (_M.MAINTENANCE, _ME.RETIRE): _M.RETIRED,
    # Its last preparation has erased it.
    (_M.PREPARING, _ME.RETIRE): _M.RETIRED,
}

_L, _LE = LeafState, LeafEvent
LEAF: dict[tuple[LeafState, LeafEvent], LeafState] = {
    **{(state, _LE.CHANGE): _L.CHANGING for state in _L},
    (_L.CHANGING, _LE.APPLIED): _L.IN_SYNC,
    (_L.CHANGING, _LE.REFUSE): _L.REFUSED,
    # Somebody else holds the leaf's candidate: it is named, and asked again until he lets go.
    (_L.CHANGING, _LE.WAIT): _L.LOCKED,
    (_L.UNREACHABLE, _LE.READ): _L.IN_SYNC,
    **{(state, _LE.LOSE): _L.UNREACHABLE for state in _L},
}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a wait ends by itself: the budget is one of `service.settings` in seconds."""

    budget: str
    event: DeviceEvent | MachineEvent | LeafEvent


WAITING: dict[DeviceState | MachineState | LeafState, Exit] = {
    _D.QUEUED: Exit("place_limit_s", _DE.GAVE_UP),
    _D.PROVISIONING: Exit("install_limit_s", _DE.GAVE_UP),
    _D.REINSTALLING: Exit("install_limit_s", _DE.GAVE_UP),
    _D.POWERING_OFF: Exit("netboot_limit_s", _DE.GAVE_UP),
    _D.POWERING_ON: Exit("netboot_limit_s", _DE.GAVE_UP),
    _M.PREPARING: Exit("erase_limit_s", _ME.FAIL),
    _M.INSTALLING: Exit("install_limit_s", _ME.PREPARE),
    _L.CHANGING: Exit("leaf_confirm_s", _LE.LOSE),
}


def next_device(state: DeviceState, event: DeviceEvent) -> DeviceState:
    """Where `event` leads a device. Raises IllegalMove."""
    if (goal := DEVICE.get((state, event))) is None:
        raise IllegalMove(f"a device that is {state} takes no {event}")
    return goal


def next_machine(state: MachineState, event: MachineEvent) -> MachineState:
    """Where `event` leads a machine. Raises IllegalMove."""
    if (goal := MACHINE.get((state, event))) is None:
        raise IllegalMove(f"a machine that is {state} takes no {event}")
    return goal


def diagrams() -> str:
    """The three tables as Mermaid state diagrams, for docs/lifecycle.md."""
    parts = ["# States\n\nMade from the tables in `service/lifecycle.py` by `make docs`; do not edit.\n"]
    for title, table in (("Device", DEVICE), ("Machine", MACHINE), ("Leaf", LEAF)):
        lines = [f"    {state} --> {goal}: {event}" for (state, event), goal in table.items()]
        parts.append(f"## {title}\n\n```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(diagrams(), end="")  # noqa: T201

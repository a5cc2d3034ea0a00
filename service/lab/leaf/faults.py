"""What can be wrong with a virtual leaf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError

Step = Literal["edit-config", "validate", "commit"]


class Fault(StrEnum):
    """What may become of one call. "Before" is before it had an effect, "after" is before it was answered."""

    REFUSE = "refused"
    ERROR_BESIDE_OK = "refused, with an ok beside the error"  # as where a member of a virtual chassis failed
    DROP_BEFORE = "session dropped before"
    DROP_AFTER = "session dropped after"
    HANG = "no answer"  # and none to whatever else the session asks
    HALF_THEN_SILENT = "half an answer, then silence"
    HALF_THEN_GONE = "half an answer, then gone"
    WARNINGS = "a flood of warnings"  # beside the answer
    REBOOT_BEFORE = "reboot before"
    REBOOT_AFTER = "reboot after"  # a trial does not survive it


class Point(StrEnum):
    """Calls that a fault can strike, as far as a transaction tells them apart."""

    READ = "get-config"
    LOCK = "lock"
    EDIT = "edit-config"
    VALIDATE = "validate"
    COMMIT_CONFIRMED = "commit-confirmed"
    READ_ON_TRIAL = "get-config-on-trial"
    COMMIT = "commit"
    UNLOCK = "unlock"


@dataclass(frozen=True, slots=True)
class PortRefusal:
    """The leaf refuses any change of these ports."""

    ports: Mapping[str, str]  # and with which message
    at: Step  # the first one that sees it; what a validate refuses a commit refuses, too
    named: bool  # whether an error-path tells the port; if so, all of them are told at once


@dataclass(frozen=True, slots=True)
class Struck:
    """What a commit did harm to, until it is taken back or the fault is cleared."""

    down: frozenset[str] = frozenset()
    lost_routes: frozenset[str] = frozenset()
    lost_neighbors: frozenset[str] = frozenset()

    @classmethod
    def of(cls, faults: LeafFaults) -> Struck:
        """What a commit at this moment does harm to."""
        return cls(frozenset(faults.down), frozenset(faults.lost_routes), frozenset(faults.lost_neighbors))


@dataclass(slots=True)
class LeafFaults:
    """What is wrong with the leaf; to be set at any moment."""

    next: dict[str, Fault] = field(default_factory=dict)  # by `Point`: strikes the next such call, once
    refuse_next: str = ""  # refuse the next commit of any kind with this message
    refuse_always: str = ""  # and each one after it
    refuse_ports: PortRefusal | None = None
    hang: bool = False  # answer nothing any more; whoever asked meanwhile gets no answer later, either
    lose_edits: bool = False  # say ok to an edit and forget it
    black_hole: bool = False  # a change cuts the leaf off, from its commit until it is taken back
    black_hole_answers: bool = True  # and the commit's own answer still gets out
    reboot_seconds: float = 0.3
    # What works and does so no more from the next commit on, until that is taken back or the fault is cleared.
    down: set[str] = field(default_factory=set)  # ports without a link
    lost_routes: set[str] = field(default_factory=set)  # destinations without a route
    lost_neighbors: set[str] = field(default_factory=set)  # ports whose LLDP neighbour is not heard


# Junos' own calls, as the steps that they are.
_POINTS = {
    "get-configuration": Point.READ,
    "lock-configuration": Point.LOCK,
    "unlock-configuration": Point.UNLOCK,
    "load-configuration": Point.EDIT,
    "commit-configuration": Point.COMMIT,
}


def point_of(operation: Element, *, on_trial: bool) -> str:
    """A `Point`, or the name of an operation that is none."""
    name = tag_of(operation)
    point, words = _POINTS.get(name, name), {tag_of(one) for one in operation}
    if point == Point.COMMIT and "confirmed" in words:
        return Point.COMMIT_CONFIRMED
    if point == Point.COMMIT and name == "commit-configuration" and "check" in words:
        return Point.VALIDATE
    return Point.READ_ON_TRIAL if point == Point.READ and on_trial else point


def refuse_ports(fault: PortRefusal | None, step: Step, running: Element, changed: Element) -> None:
    """Raises EditError when the change touches a port that it must not touch at this step."""
    if fault is None or step not in ((fault.at, "commit") if fault.at == "validate" else (fault.at,)):
        return
    difference = set(_statements(running, "")) ^ set(_statements(changed, ""))
    errors = [
        EditError("operation-failed", message, f"[edit interfaces {port} unit 0]" if fault.named else "")
        for port, message in fault.ports.items()
        if any(re.search(rf"\b{re.escape(port)}(?![0-9/])", statement) for statement in difference)
    ]
    if errors:
        errors[0].others = tuple(errors[1:]) if fault.named else ()
        raise errors[0]


def _statements(element: Element, above: str) -> Iterator[str]:
    """Every statement with the path to it, a line each."""
    here = f"{above} {tag_of(element)} {name_of(element)}"
    if not len(element):
        yield f"{here} {(element.text or '').strip()}"
    for child in element:
        yield from _statements(child, here)

"""What an operator's action on a leaf is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from netconf.render import Element
from service.clock import Clock
from service.leaves import desired
from service.store.leaf_plans import PortOf
from service.store.leaves import LeafRow
from service.store.rows import Connection


class ActionRefused(ValueError):
    """The action makes no sense on this leaf now; the text says why, and what would."""


class Known(desired.Known, Protocol):
    """What is known besides the database."""

    @property
    def clock(self) -> Clock:
        """The time."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A leaf, its row locked, in the transaction that the action is carried out in."""

    conn: Connection
    known: Known
    leaf: LeafRow
    running: Element | None  # as it was seen last; None when it never was
    by: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What an action has done."""

    ports: tuple[PortOf, ...] = ()  # that should be otherwise now, as they were before, on whichever leaf
    everything: bool = False  # whether all that hangs on the leaf depends on it
    notes: tuple[str, ...] = ()  # what comes of it that no difference shows

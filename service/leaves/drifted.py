"""Where a leaf has drifted, by what was read from it last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from netconf.drift import DriftedObject, drift_of
from netconf.owned import digest
from netconf.references import Key
from netconf.statements import is_silent
from netconf.tree import Element
from service.leaves.desired import desired_leaf
from service.leaves.scene import ActionRefused, Known
from service.store.leaves import Accepted, LeafRow, running_of
from service.store.rows import Connection


@dataclass(frozen=True, slots=True)
class Drifted:
    """Objects that run otherwise than they should; not those of the ports whose change is under way."""

    objects: tuple[DriftedObject, ...]
    under_way: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, as Junos' `show | compare` tells it."""
        return "".join(one.text for one in self.objects)


async def drift_on(conn: Connection, row: LeafRow, known: Known) -> Drifted | None:
    """The leaf's drift; None when it was never read. `conn` is in a transaction that sees one moment."""
    running = running_of(row, known.key)
    if running is None:
        return None
    desired, ports = await desired_leaf(conn, row.id, row.name, known)
    under_way = {port["name"] for port in ports if port["applied"] < port["generation"]}
    found = drift_of(desired, running).objects
    objects = tuple(one for one in found if not one.ports or not under_way.issuperset(one.ports))
    return Drifted(objects, tuple(sorted(under_way)))


def lapsed(accepted: Accepted, ours: Mapping[Key, Element]) -> bool:
    """Whether an acceptance has ended, because ours in the object's place is no longer what it was."""
    return digest(ours.get(accepted.object)) != accepted.instead_of


def object_name(key: Key) -> str:
    """An object's place and name in the words of Junos' `set` statements."""
    words = [*key[:-2], *([] if is_silent(key[-3], key[-2]) else [key[-2]]), key[-1]]
    return " ".join(words)


def keys_named(names: Sequence[str], keys: Collection[Key]) -> list[Key]:
    """The objects of these names, all when none is named; an object's last word does where it is one object's only.

    Raises ActionRefused, naming what there is.
    """
    if not names:
        return sorted(keys)
    found: list[Key] = []
    for name in names:
        fitting = [key for key in keys if name == object_name(key)] or [key for key in keys if name == key[-1]]
        if len(fitting) != 1:
            there = ", ".join(repr(object_name(key)) for key in sorted(fitting or keys)) or "none"
            raise ActionRefused(f"Objects is not valid: {name!r} is {_many(len(fitting))}; allowed are {there}")
        found.append(fitting[0])
    return sorted(set(found))


def _many(number: int) -> str:
    return "not among them" if number == 0 else f"the name of {number}"

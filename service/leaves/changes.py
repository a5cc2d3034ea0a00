"""What the database and the leaf's last reading say would be committed on a leaf now."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from lxml import etree

from netconf.by_port import changed_ports, without
from netconf.drift import difference
from netconf.owned import desired_objects, foreign_ports, owned_objects
from service.leaves.desired import desired_leaf
from service.leaves.scene import Known
from service.store.leaves import LeafRow, leaf_row, running_of
from service.store.rows import Connection


@dataclass(frozen=True, slots=True)
class Change:
    """What would be committed on one leaf."""

    leaf: LeafRow
    whole: bool  # all of it is made as it should be; else the ports that are pending, alone
    text: str  # as Junos' `show | compare`
    ports: tuple[str, ...]  # that it changes, or that need what it changes
    objects: tuple[tuple[str, ...], ...]  # of each that changes the key, and the digests of what runs and what would
    notes: tuple[str, ...]


async def change_of(conn: Connection, known: Known, leaf_id: UUID) -> Change:
    """What the leaf's actor is going to do. `conn` is in a transaction that sees one moment."""
    leaf = await leaf_row(conn, str(leaf_id))
    assert leaf is not None
    running = running_of(leaf, known.key)
    desired, rows = await desired_leaf(conn, leaf.id, leaf.name, known)
    have = etree.Element("configuration") if running is None else running
    runs, wanted = owned_objects(have), desired_objects(desired)
    foreign = foreign_ports(have, desired)
    left_out = set(foreign)
    whole = leaf.applied < leaf.generation
    if not whole:
        pending = {row["name"] for row in rows if row["applied"] < row["generation"]}
        left_out |= set(changed_ports(wanted, runs)) - pending
    wanted = without(wanted, runs, left_out)
    told = difference(have, wanted)
    notes = [f"{name}: somebody else's configuration stands there; `leaf adopt` takes it over" for name in foreign]
    if running is None:
        notes.append(f"{leaf.name} was never read: all of it is shown as new")
    return Change(
        leaf,
        whole,
        told.text,
        told.ports,
        told.objects,
        tuple(notes),
    )

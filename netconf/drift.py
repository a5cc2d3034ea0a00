"""What of ours on a leaf is not as it should be, and what a change of it would do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from netconf.by_port import Needs, Objects, touched_ports
from netconf.compare import compared
from netconf.desired import Leaf
from netconf.owned import (
    Key,
    desired_objects,
    differing,
    digest,
    owned_objects,
    rendered_objects,
    set_lines,
    standing,
    to_xml,
)
from netconf.render import Element


@dataclass(frozen=True, slots=True)
class DriftedObject:
    """One object that runs otherwise than desired, and what an `Exemption` of it would be made of."""

    key: Key
    ports: tuple[str, ...]  # that have a part in it, or need it
    instead_of: str  # digest of what is rendered there; nothing: ""
    xml: str = field(repr=False)  # what of ours runs there; nothing: ""
    text: str  # the difference, as in `Drift.text`


@dataclass(frozen=True, slots=True)
class Drift:
    """How what runs differs from what is desired. To repair it is to apply; to accept it, to exempt its objects."""

    added: tuple[str, ...]  # `set` statements that run and are not desired
    removed: tuple[str, ...]  # and that are desired and do not run
    text: str  # as Junos' `show | compare`, with + for what was added; also a changed order of terms, or secret
    objects: tuple[DriftedObject, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.objects)


@dataclass(frozen=True, slots=True)
class Difference:
    """What it would change on a leaf to apply what is desired."""

    added: tuple[str, ...]  # `set` statements that would be new
    removed: tuple[str, ...]  # and that would be gone, those of whatever gives way to ours too
    text: str  # as Junos' `show | compare`
    ports: tuple[str, ...]  # host ports that it changes; all, where it changes what joins the leaf to the rest
    objects: tuple[tuple[str, ...], ...]  # of each that changes the key, and the digests of what runs and what would

    def __bool__(self) -> bool:
        return bool(self.text)


def drift_of(leaf: Leaf, configuration: Element) -> Drift:
    """Compare the owned objects in a `<configuration>` with what they should be.

    Where one of ours is missing, whatever stands there instead is told of; what else is not ours is not looked at.
    """
    wanted, running = desired_objects(leaf), owned_objects(configuration)
    drifted = differing(wanted, running)
    found = _of({**standing(configuration, drifted), **running}, drifted)
    rendered = rendered_objects(leaf) if drifted else {}
    needs = (Needs(wanted), Needs(running)) if drifted else ()
    objects = []
    for key in drifted:
        ours = running.get(key)
        should, does = ({key: one[key]} if key in one else {} for one in (wanted, found))
        ports = {port for need in needs for port in need.ports([key])}
        instead_of, xml = digest(rendered.get(key)), "" if ours is None else to_xml(ours)
        objects.append(DriftedObject(key, tuple(sorted(ports)), instead_of, xml, compared(should, does)))
    wanted = _of(wanted, drifted)
    added, removed = _lines(wanted, found)
    return Drift(added, removed, compared(wanted, found), tuple(objects))


def difference(old: Element, wanted: Objects) -> Difference:
    """What it would do to a leaf that runs the `<configuration>` to make our objects what is wanted."""
    running = owned_objects(old)
    touched = tuple(touched_ports(wanted, running))
    before = {**standing(old, wanted), **running}
    changed = differing(before, wanted)
    before, after = _of(before, changed), _of(wanted, changed)
    added, removed = _lines(before, after)
    objects = tuple((*key, digest(before.get(key)), digest(after.get(key))) for key in changed)
    return Difference(added, removed, compared(before, after), touched, objects)


def _of(objects: Objects, keys: Collection[Key]) -> dict[Key, Element]:
    """Those of the objects; what is the same on both sides need not be written out."""
    return {key: objects[key] for key in keys if key in objects}


def _lines(old: Objects, new: Objects) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The `set` statements that come and that go."""
    before, after = set(set_lines(old)), set(set_lines(new))
    return tuple(sorted(after - before)), tuple(sorted(before - after))

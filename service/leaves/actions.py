"""What operators may do to a leaf: a table of actions, each carried out in the caller's transaction.

An action changes what the leaf should be, and nothing else; its actor does the rest. Planned, the same function runs in
a transaction that is taken back (`service.leaves.plans`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from netconf.connection import Database
from netconf.owned import foreign_ports
from service.api.models import Strict
from service.leaves.desired import desired_leaf
from service.leaves.drifted import drift_on, keys_named, object_name
from service.leaves.fabric import FabricEntry
from service.leaves.profiles import set_profile
from service.leaves.recabling import recable
from service.leaves.scene import ActionRefused, Done, Scene
from service.store.leaf_plans import PortOf, ports_of
from service.store.leaves import accept, exemptions_of, raise_generation, revoke
from sql.loader import Q

Name = Annotated[str, Field(min_length=1, max_length=400)]
Names = Annotated[list[Name], Field(max_length=1000)]
Act = Callable[[Scene, Any], Awaitable[Done]]


class Arguments(Strict):
    """What an action is told."""


class ObjectArguments(Arguments):
    """Which objects; none: all."""

    objects: Names = Field(default_factory=list)


class ProfileArguments(Arguments):
    """Which ports, and what they are to let through."""

    ports: Annotated[Names, Field(min_length=1)]
    profile: Literal["quarantine", "provisioning", "active", "rescue", "maintenance"]


class AdoptArguments(Arguments):
    """Which ports; none: all on whose interface somebody else's configuration stands."""

    ports: Names = Field(default_factory=list)


class FabricArguments(Arguments):
    """The whole of it; null: the fabric is not ours."""

    fabric: FabricEntry | None


class DatabaseArguments(Arguments):
    """Which configuration database changes go through."""

    database: Literal["candidate", "private", "ephemeral"]


class RecableArguments(Arguments):
    """Which machines; none: all that are seen elsewhere."""

    machines: Names = Field(default_factory=list)


_DANGERS: Mapping[str, tuple[str, ...]] = {
    Database.CANDIDATE: ("The shared candidate under its lock: each change is on trial until it was verified.",),
    Database.PRIVATE: (
        "A private candidate cannot be committed on trial: a change that cuts the leaf off does not take itself back, "
        "and somebody must go there.",
        "A process that is killed between commit and verification leaves a change that nobody has verified.",
    ),
    Database.EPHEMERAL: (
        "Routes and filter entries of elastic blocks go through the ephemeral database, which checks syntax only, "
        "cannot be committed on trial, and does not show in `show configuration`.",
        "The leaf must be configured for it first: set system configuration-database ephemeral instance roundhouse",
    ),
}


async def _repair(scene: Scene, _asked: Arguments) -> Done:
    await raise_generation(scene.conn, scene.leaf.id)
    return Done()


async def _accept(scene: Scene, asked: ObjectArguments) -> Done:
    drifted = await drift_on(scene.conn, scene.leaf, scene.known)
    if drifted is None:
        raise ActionRefused(f"{scene.leaf.name} was never read; there is nothing to accept")
    by_key = {one.key: one for one in drifted.objects}
    if not by_key:
        raise ActionRefused(f"{scene.leaf.name} has not drifted; there is nothing to accept")
    chosen = [by_key[key] for key in keys_named(asked.objects, by_key.keys())]
    for one in chosen:
        await accept(scene.conn, scene.leaf.id, one, by=scene.by, now=scene.now, key=scene.known.key)
    notes = tuple(f"{object_name(one.key)} stays as it runs, until ours in its place changes" for one in chosen)
    return Done(await _ports_named(scene, sorted({port for one in chosen for port in one.ports})), notes=notes)


async def _revoke(scene: Scene, asked: ObjectArguments) -> Done:
    accepted = {one.object for one in await exemptions_of(scene.conn, scene.leaf.id, scene.known.key)}
    if not accepted:
        raise ActionRefused(f"nothing that runs on {scene.leaf.name} is accepted; there is nothing to revoke")
    for key in keys_named(asked.objects, accepted):
        await revoke(scene.conn, scene.leaf.id, key)
    await raise_generation(scene.conn, scene.leaf.id)
    return Done()


async def _profile(scene: Scene, asked: ProfileArguments) -> Done:
    return await set_profile(scene, await _ports_named(scene, asked.ports), asked.profile)


async def _adopt(scene: Scene, asked: AdoptArguments) -> Done:
    if scene.running is None:
        raise ActionRefused(f"{scene.leaf.name} was never read; what stands on its ports is not known")
    desired, _ = await desired_leaf(scene.conn, scene.leaf.id, scene.leaf.name, scene.known)
    foreign = foreign_ports(scene.running, desired)
    if not foreign:
        raise ActionRefused(
            f"nothing of somebody else's stands on {scene.leaf.name}'s ports; there is nothing to adopt"
        )
    for name in asked.ports:
        if name not in foreign:
            allowed = ", ".join(sorted(foreign))
            raise ActionRefused(f"Ports is not valid: {name!r} has nothing of somebody else's; allowed are {allowed}")
    ports = await _ports_named(scene, asked.ports or sorted(foreign))
    await scene.conn.execute(Q["take_ports_over"], [port.id for port in ports], scene.now)
    await scene.conn.execute(Q["notify"], f"leaf:{scene.leaf.id}")
    return Done(ports, notes=("What stands there now is gone for good; the difference shows it.",))


async def _fabric(scene: Scene, asked: FabricArguments) -> Done:
    given = None if asked.fabric is None else asked.fabric.model_dump(mode="json")
    if given == scene.leaf.fabric:
        raise ActionRefused(f"Fabric is not valid: {scene.leaf.name}'s is that already")
    await scene.conn.execute(Q["set_leaf_fabric"], scene.leaf.id, given)
    await raise_generation(scene.conn, scene.leaf.id)
    notes = ("All machines of the leaf reach the rest through its uplinks.",)
    return Done(everything=True, notes=notes)


async def _database(scene: Scene, asked: DatabaseArguments) -> Done:
    if asked.database == scene.leaf.database:
        raise ActionRefused(f"Database is not valid: {scene.leaf.name} is changed through {asked.database} already")
    await scene.conn.execute(Q["set_leaf_database"], scene.leaf.id, asked.database)
    await scene.conn.execute(Q["notify"], f"leaf:{scene.leaf.id}")
    return Done(everything=True, notes=_DANGERS[asked.database])


async def _recable(scene: Scene, asked: RecableArguments) -> Done:
    return await recable(scene, asked.machines)


async def _ports_named(scene: Scene, names: Sequence[str]) -> tuple[PortOf, ...]:
    by_name = {port.name: port for port in await ports_of(scene.conn, [scene.leaf.id])}
    for name in names:
        if name not in by_name:
            allowed = ", ".join(by_name) or "none"
            raise ActionRefused(f"Ports is not valid: {scene.leaf.name} has no port {name!r}; allowed are {allowed}")
    return tuple(by_name[name] for name in dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Action:
    """What may be asked for, and who carries it out."""

    arguments: type[Arguments]
    act: Act


ACTIONS: Mapping[str, Action] = {
    "repair": Action(Arguments, _repair),
    "accept": Action(ObjectArguments, _accept),
    "revoke": Action(ObjectArguments, _revoke),
    "profile": Action(ProfileArguments, _profile),
    "adopt": Action(AdoptArguments, _adopt),
    "fabric": Action(FabricArguments, _fabric),
    "database": Action(DatabaseArguments, _database),
    "recable": Action(RecableArguments, _recable),
}

"""Machines are recorded at the ports where they are seen: after a cable was put into the wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ipam.history import correct
from ipam.ledger import held_by, take
from ipam.prefixes import prefixes_for
from service.leaves.cabling import Finding, Plug, findings
from service.leaves.scene import ActionRefused, Done, Scene
from service.store.hardware import set_port
from service.store.leaf_plans import PortOf, ports_of
from sql.loader import Q


async def recable(scene: Scene, names: Sequence[str]) -> Done:
    """Record machines at the leaf's ports where LLDP sees them, or that see them; all of them, when none is named.

    Who is recorded at such a port goes along, to where he is seen himself. Raises ActionRefused.
    """
    plugs = [Plug(**row) for row in await scene.conn.fetch(Q["cabling"], scene.leaf.id)]
    goals = _goals([one for one in findings(plugs) if one.seen is not None], scene.leaf.name, names)
    ports = {port.id: port for port in await ports_of(scene.conn, [], _touched(goals))}
    homes = {port.machine: port for port in ports.values() if port.machine is not None}
    _check(goals, homes, ports)
    moved = {homes[name].machine_id: ports[goal.at.port_id] for name, goal in goals.items()}
    await scene.conn.fetch(Q["lock_machines"], list(moved))
    await scene.conn.execute(Q["plug_machines"], list(moved), [port.id for port in moved.values()])
    await _hand_ports_over(scene, goals, homes, ports)
    notes = tuple(f"{name}: {homes[name].leaf} {homes[name].name} → {goal.at.where}" for name, goal in goals.items())
    return Done(tuple(ports.values()), notes=notes)


def _goals(seen: Sequence[Finding], leaf: str, names: Sequence[str]) -> dict[str, Finding]:
    """Where each machine is to be recorded, by name; those included in whose place another one comes."""
    by_machine = {str(one.seen.machine): one for one in seen if one.seen is not None}
    here = [name for name, one in by_machine.items() if one.seen and leaf in (one.at.leaf, one.seen.leaf)]
    for name in names:
        if name not in by_machine:
            raise ActionRefused(
                f"Machines is not valid: {name!r} is not seen at another port than its own; "
                f"allowed are {', '.join(sorted(here)) or 'none'}"
            )
    if not here:
        raise ActionRefused(f"{leaf} sees no machine that is recorded elsewhere")
    goals: dict[str, Finding] = {}
    asked = list(names or here)
    while asked:
        if (name := asked.pop()) not in goals:
            goals[name] = by_machine[name]
            if (there := by_machine[name].at.machine) is not None and there in by_machine:
                asked.append(there)
    return goals


def _touched(goals: dict[str, Finding]) -> list[UUID]:
    ids = {one.at.port_id for one in goals.values()} | {one.seen.port_id for one in goals.values() if one.seen}
    return sorted(ids)


def _check(goals: dict[str, Finding], homes: dict[str, PortOf], ports: dict[UUID, PortOf]) -> None:
    for name, goal in goals.items():
        home, there = homes[name], ports[goal.at.port_id]
        if home.device_id is not None:
            raise ActionRefused(
                f"Machines is not valid: {name} serves device {home.hostname} of {home.project}, whose addresses are "
                f"those of {home.leaf} {home.name}; put the cable there, or delete the device first"
            )
        if there.machine is not None and there.machine not in goals:
            raise ActionRefused(
                f"Machines is not valid: {goal.at.where}, where {name} is seen, is {there.machine}'s, "
                "which is seen nowhere else; unplug it or see that it speaks LLDP"
            )


async def _hand_ports_over(
    scene: Scene, goals: dict[str, Finding], homes: dict[str, PortOf], ports: dict[UUID, PortOf]
) -> None:
    """Each port becomes what its new machine's was; one that is left alone is closed."""
    by_port = {goal.at.port_id: name for name, goal in goals.items()}
    await scene.conn.execute(Q["ports_relabelled"], list(ports), scene.now)
    for port in ports.values():
        name = by_port.get(port.id)
        profile = "quarantine" if name is None else homes[name].profile
        await set_port(scene.conn, port.id, profile, None, now=scene.now)
        await _write_down(scene, port, None if name is None else goals[name])
    for leaf_id in sorted({port.leaf_id for port in ports.values()}):
        await scene.conn.execute(Q["notify"], f"leaf:{leaf_id}")


async def _write_down(scene: Scene, port: PortOf, goal: Finding | None) -> None:
    """The ledger tells the boot link's new machine; a port that has no boot link yet gets one."""
    machine = goal.seen if goal is not None else None
    told = {
        "machine": (machine.machine if machine else None) or "",
        "leaf": port.leaf,
        "port": port.name,
        "mac": (machine.mac if machine else None) or "",
    }
    boot = next((one for one in await held_by(scene.conn, port.id) if one.slot == "boot"), None)
    if boot is not None:
        why = goal.sentence if goal is not None else f"{port.leaf} {port.name} has no machine"
        await correct(scene.conn, boot.id, why, by=scene.by, note=told)
    elif machine is not None:
        prefixes = await prefixes_for(scene.conn, "boot", scene.leaf.facility)
        await take(scene.conn, prefixes, port.id, "boot", now=scene.now, by=scene.by, note=told)

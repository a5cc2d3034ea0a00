"""An operator sets what a port lets through: what may become of it depends on who hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from service.leaves.scene import ActionRefused, Done, Scene
from service.lifecycle import MachineEvent, MachineState
from service.store.hardware import machine_by_id, move_machine, set_port
from service.store.leaf_plans import PortOf, work_on
from service.workflows.prepare import start_prepare

# What each may become: a port without machine, a device's, and by the machine's state one that no device is on. A
# machine that is being prepared or installed has the port that its run gives it.
_ALONE = ("quarantine", "provisioning", "maintenance")
_OF_DEVICE = ("active", "rescue", "maintenance", "quarantine")
_OF_MACHINE: dict[str, tuple[str, ...]] = {
    MachineState.ENROLLED: _ALONE,
    MachineState.QUARANTINED: _ALONE,
    MachineState.MAINTENANCE: _ALONE,
    MachineState.READY: ("maintenance",),  # or else the next order would set it as it likes
}


async def set_profile(scene: Scene, ports: Sequence[PortOf], profile: str) -> Done:
    """Have the ports be of the profile; a device keeps its port and its addresses. Raises ActionRefused."""
    notes: list[str] = []
    for port in ports:
        await _check(scene, port, profile)
        device_id = port.device_id
        if port.machine_id is not None and device_id is None:
            notes += await _move_machine(scene, port, profile)
        elif device_id is not None and profile in ("maintenance", "quarantine"):
            notes.append(f"{port.hostname} of {port.project} is cut off while {port.name} is in {profile}")
        await set_port(scene.conn, port.id, profile, device_id, now=scene.now)
    return Done(tuple(ports), notes=tuple(notes))


async def _check(scene: Scene, port: PortOf, profile: str) -> None:
    if port.profile == profile:
        raise ActionRefused(f"Profile is not valid: {port.name} is in {profile} already")
    if (work := await work_on(scene.conn, port.id)) is not None:
        who = port.hostname or port.machine
        raise ActionRefused(
            f"Ports is not valid: {port.name}: {who} is in {work.workflow}, at {work.step}; wait for it"
        )
    allowed: tuple[str, ...]
    if port.device_id is not None:
        who, allowed = f"device {port.hostname}", _OF_DEVICE
    elif port.machine_state is not None:
        who, allowed = f"{port.machine}, which is {port.machine_state},", _OF_MACHINE.get(port.machine_state, ())
    else:
        who, allowed = "no machine", _ALONE
    if profile not in allowed:
        raise ActionRefused(
            f"Profile is not valid: {profile!r}; {port.name} has {who} and may become {', '.join(allowed) or 'nothing'}"
        )


def transition_of(profile: str, state: MachineState) -> MachineEvent | None:
    """What a port's new profile means for the machine there, which no device is on."""
    if profile == "maintenance" and state is not MachineState.MAINTENANCE:
        return MachineEvent.MAINTAIN
    if profile == "provisioning" and state is MachineState.MAINTENANCE:
        return MachineEvent.GIVE_BACK
    return None


async def _move_machine(scene: Scene, port: PortOf, profile: str) -> list[str]:
    """What the port's profile means for a machine that no device is on."""
    assert port.machine_id is not None
    machine = await machine_by_id(scene.conn, port.machine_id)
    transition = transition_of(profile, machine.state)
    if transition is MachineEvent.MAINTAIN:
        reason = "an operator works on it"
        await move_machine(scene.conn, machine, transition, now=scene.now, reason=reason)
        return [f"{machine.name} goes to maintenance: no order gets it until its port is provisioning again"]
    if transition is MachineEvent.GIVE_BACK:
        await move_machine(scene.conn, machine, transition, now=scene.now)
        limit = timedelta(seconds=scene.known.settings.erase_limit_s)
        await start_prepare(scene.conn, machine.id, None, "back from maintenance", now=scene.now, limit=limit)
        return [f"{machine.name} is prepared, which erases its disks, and goes back to the pool"]
    return []

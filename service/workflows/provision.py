"""From an order to an active machine. The run's subject is the device.

The leaf changes its port while the machine is being installed: `place` asks for it, `await_network` waits for it. A
machine that fails or is too slow goes to preparation, and the device is placed again on another.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from images.native.contract import CannotExpress
from ipam.ledger import held_by
from service.artefacts import NotBuilt
from service.lifecycle import DeviceEvent, MachineEvent, MachineState
from service.releases.course import keep_release, on_trial
from service.store.course import Device, move_device
from service.store.events import add_event
from service.store.hardware import agent_alive, machine_of_device, move_machine
from service.store.releases import end_install
from service.workflow import Done, Failed, Job, Outcome, Step, Wait, Workflow
from service.workflows.common import await_port, device_in, machine_in, netboot_step, port_seen, work_step
from service.workflows.handover import another_way
from service.workflows.install import engine_for, engine_of, install_spec
from service.workflows.native import native_missing, native_step, native_too_slow, offer_installer
from service.workflows.placing import addresses_stuck, another_machine, await_addresses, give_up, place, wait_on
from sql.loader import Q


def _missing(job: Job, device: Device, slug: str, release: str | None, arch: str) -> Failed | None:
    """No machine is to blame, and none is tried, where the order's image or installer was never built."""
    match engine_for(job.parts.catalogue, slug, device.engine):
        case "native":
            return native_missing(job, slug, arch)
        case "image":
            try:
                job.parts.images.image(slug, release)
            except NotBuilt as err:
                return Failed(str(err))
    return None


def _slot(job: Job) -> str:
    """The name of the installation on the present machine, among those of the run."""
    return f"install.{len(job.data.get('tried', []))}"


async def _start(job: Job) -> Outcome:
    """A machine of the warm pool waits in the installer already; a cold one is started."""
    machine, device = await machine_in(job), await device_in(job)
    missing = _missing(job, device, device.operating_system, device.image_release, machine.arch)
    if missing is not None:
        return missing
    engine = engine_of(job.parts, device)
    if engine == "native" and (refused := await offer_installer(job, device, machine, _slot(job))) is not None:
        return refused
    warm = await agent_alive(job.db, machine.id, now=job.parts.clock.now())
    outcome: Outcome = Done()
    if engine != "image" or not warm:
        outcome = await netboot_step(job, machine)
    async with job.transaction() as conn:
        body = "Configuration written, restarting device"
        await add_event(conn, "provisioning.103", body, device_id=device.id)
    return outcome


async def _install_once(job: Job, slot: str) -> Outcome:
    """Have the agent install; its host keys become the device's."""
    machine, device = await machine_in(job), await device_in(job)
    if engine_of(job.parts, device) != "image":
        return Done()
    # After another hand-over had failed the same machine is installed once more, which is work of its own.
    slot += "".join(f".{way}" for way in job.data.get("ways_failed", []))
    spec = partial(install_spec, job, device, machine)
    try:
        outcome = await work_step(job, machine, slot, "install", spec, reboot_step="start")
    except NotBuilt as err:
        return Wait(f"the image was taken out of service meanwhile: {err}")
    except CannotExpress as err:
        return Failed(str(err))
    if isinstance(outcome, Done):
        told = outcome.data[slot].get("host_keys", [])
        keys = [key for key in told if isinstance(key, str) and key.startswith("ssh-")]
        await job.db.execute(Q["set_host_keys"], device.id, keys, job.parts.clock.now())
        return Done({"host_keys": keys, "handover": outcome.data[slot].get("handover")})
    return outcome


async def _install(job: Job) -> Outcome:
    outcome = await _install_once(job, _slot(job))
    return await another_machine(job, outcome.reason) if isinstance(outcome, Failed) else outcome


async def _native_once(job: Job, slot: str) -> Outcome:
    """Wait for the distribution's installer; the host keys that it tells become the device's."""
    device = await device_in(job)
    if engine_of(job.parts, device) != "native":
        return Done()
    outcome = await native_step(job, await machine_in(job), slot, reboot_step="start")
    if isinstance(outcome, Done):
        await job.db.execute(Q["set_host_keys"], device.id, outcome.data["host_keys"], job.parts.clock.now())
    return outcome


async def _native(job: Job) -> Outcome:
    outcome = await _native_once(job, _slot(job))
    return await another_machine(job, outcome.reason) if isinstance(outcome, Failed) else outcome


async def _native_too_slow(job: Job) -> Outcome:
    return await another_machine(job, await native_too_slow(job, await machine_in(job), _slot(job)))


async def _too_slow(job: Job) -> Outcome:
    machine = await machine_in(job)
    return await another_machine(job, f"{machine.name} was too slow")


async def _await_network(job: Job) -> Outcome:
    """What the leaf refuses, with a reason, it will not take later: another machine is tried where one is ready."""
    machine = await machine_in(job)
    port = await job.db.fetchrow(Q["port_by_id"], machine.port_id)
    outcome = port_seen(port)
    if isinstance(outcome, Done) or port["fault"] is None:
        return outcome
    device, reason = await device_in(job), f"{port['leaf']} refuses {port['name']}: {port['fault']}"
    kin = await job.db.fetch(Q["machines_like"], device.facility_id, device.plan_id, device.reservation_id)
    if any(row["state"] == MachineState.READY and row["machines"] > row["held"] for row in kin):
        # What was refused is not there; so was it never, if nothing has been taken since the machine was placed.
        never_on_leaf = port["applied"] < job.data.get("generation", 0)
        return await another_machine(job, reason, stage="network", never_on_leaf=never_on_leaf)
    return Failed(reason)


async def _network_too_slow(job: Job) -> Outcome:
    machine = await machine_in(job)
    port = await job.db.fetchrow(Q["port_by_id"], machine.port_id)
    why = port["fault"] or port["leaf_fault"] or "no answer"
    return Failed(f"{port['leaf']} {port['name']} could not be set up: {why}")


async def _await_phone_home(job: Job) -> Outcome:
    device = await device_in(job)
    if device.phoned_home_at is not None:
        return Done()
    return Wait("the installed system has not phoned home", 10.0)


async def _not_home(job: Job) -> Outcome:
    """The hand-over may be at fault, unless it is a release that is tried out: other ways before another machine."""
    if await on_trial(job):
        return await _too_slow(job)
    return await another_way(job, await machine_in(job)) or await _too_slow(job)


async def _still_not_home(job: Job) -> Outcome:
    machine = await machine_in(job)
    return await another_way(job, machine) or Failed(f"{machine.name} does not come up with the system on its disk")


async def _prove(job: Job) -> Outcome:
    """Active means seen from outside: the public address shows the host key that the install reported; of a device
    without one, the private address."""
    device = await device_in(job)
    if not device.host_keys:
        return Done()
    links = {link.slot: link.host.ip for link in await held_by(job.db, device.id)}
    address = links.get("public") or links["private"]
    port = job.parts.settings.ssh_port
    seen = await job.parts.see_host_key(str(address), port)
    if seen is None:
        return Wait(f"{address} does not answer SSH on port {port}", 0.5)
    expected = [key.split()[1] for key in device.host_keys]
    if seen.split()[1] not in expected:
        reason = f"{address} shows a host key that the install did not make"
        return await another_machine(job, reason, stage="prove") if await on_trial(job) else Failed(reason)
    return Done()


async def _activate(job: Job) -> Outcome:
    device, machine, now = await device_in(job), await machine_in(job), job.parts.clock.now()
    async with job.transaction() as conn:
        await end_install(conn, job.run_id, now=now)
        if machine.state is MachineState.INSTALLING:
            await move_machine(conn, machine, MachineEvent.ACTIVATE, now=now)
        if device.state in ("provisioning", "reinstalling"):
            await move_device(conn, device, DeviceEvent.PROVED, now=now)
            body = "Device phoned home and is ready to go"
            await add_event(conn, "provisioning.110", body, device_id=device.id, state="active")
    return Done()


async def _begin_reinstall(job: Job) -> Outcome:
    """Boot the machine of an active device into the installer again; the device keeps machine, addresses and keys."""
    machine = await machine_of_device(job.db, job.subject)
    if machine is None:
        return Failed("the device has no machine")
    slug = str(job.data["operating_system"])
    if (missing := _missing(job, await device_in(job), slug, None, machine.arch)) is not None:
        return missing
    async with job.transaction() as conn:
        if machine.state is MachineState.IN_USE:
            await keep_release(conn, job, await device_in(job), machine, slug)
            await move_machine(conn, machine, MachineEvent.REINSTALL, now=job.parts.clock.now())
            await conn.execute(Q["set_installed"], machine.id, False)
            await conn.execute(Q["forget_phone_home"], job.subject)
            await conn.execute(Q["change_operating_system"], job.subject, slug, job.parts.clock.now())
    return Done({"machine": str(machine.id)})


async def _restart(job: Job) -> Outcome:
    machine, device = await machine_in(job), await device_in(job)
    native = engine_of(job.parts, device) == "native"
    if native and (refused := await offer_installer(job, device, machine, "install")) is not None:
        return refused
    return await netboot_step(job, machine)


async def _reinstall(job: Job) -> Outcome:
    return await _install_once(job, "install")


async def _reinstall_natively(job: Job) -> Outcome:
    return await _native_once(job, "install")


_SEEN = (
    Step("await_network", _await_network, "port_limit_s", overrun=_network_too_slow),
    Step("await_phone_home", _await_phone_home, "first_boot_limit_s", overrun=_not_home),
    Step("prove", _prove, "prove_limit_s", overrun=_too_slow),
    Step("activate", _activate, "leaf_limit_s"),
)

PROVISION = Workflow(
    "provision",
    (
        Step("await_addresses", await_addresses, "leaf_limit_s", undo=give_up, overrun=addresses_stuck),
        Step("place", place, "place_limit_s", overrun=wait_on),
        Step("start", _start, "netboot_limit_s"),
        Step("install", _install, "install_limit_s", overrun=_too_slow),
        Step("native_install", _native, "native_limit_s", overrun=_native_too_slow),
        *_SEEN,
    ),
)

# A device that is active is bound to its machine: what overruns here fails, with the reason, and nobody is moved.
REINSTALL = Workflow(
    "reinstall",
    (
        Step("begin", _begin_reinstall, "leaf_limit_s", undo=give_up),
        Step("start", _restart, "netboot_limit_s"),
        Step("install", _reinstall, "install_limit_s"),
        Step("native_install", _reinstall_natively, "native_limit_s"),
        Step("await_network", await_port, "port_limit_s"),
        replace(_SEEN[1], overrun=_still_not_home),
        *(replace(step, overrun=None) for step in _SEEN[2:]),
    ),
)

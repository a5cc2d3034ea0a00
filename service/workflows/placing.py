"""Which machine a device gets, and what becomes of a machine that an order could not be served with.

A machine that fails or is too slow goes to preparation, and the device is placed again on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ipam.errors import IpamError
from ipam.ledger import Want, held_by, take_each
from ipam.prefixes import Prefix, prefixes_for_each, served
from service.elastic import addresses_back, let_go, rehome, whereabouts
from service.lifecycle import DeviceEvent, MachineEvent, MachineState
from service.releases.course import give_release, release_to_avoid
from service.store.course import Device, move_device
from service.store.events import add_event
from service.store.hardware import Machine, machine_of_device, move_machine, pick_machine, ready_machine, set_port
from service.store.releases import Stage, end_install
from service.store.rows import Connection
from service.workflow import Back, Done, Failed, Job, Outcome, Wait
from service.workflows.asking import allowed_machine, hooks_follow_placing, next_one
from service.workflows.common import device_in, machine_in
from service.workflows.handover import NO_WAY_TRIED
from service.workflows.prepare import start_prepare
from sql.loader import Q

_SLOTS = ("public", "private", "ipv6")  # always taken in this order, so that two orders cannot wait for each other
_REPLACEMENTS = 2  # machines that may fail under one order before the order fails


def slots_of(device: Device) -> list[str]:
    """The device's host links, in the order in which they are taken."""
    return [slot for slot in _SLOTS if slot in device.links]


async def _links_wanted(
    conn: Connection, job: Job, device: Device, machine: Machine
) -> list[tuple[Want, Sequence[Prefix]]]:
    by, note = f"run:{job.run_id}", whereabouts(device, machine)
    whose = {"organization_id": device.organization_id, "project_id": device.project_id}
    found = await prefixes_for_each(conn, slots_of(device), device.facility, **whose)
    return [
        (Want(device.id, slot, by, device.project_id, note), served(prefixes, slot, device.facility))
        for slot, prefixes in found.items()
    ]


async def place(job: Job) -> Outcome:
    """Give the device a machine, its links and its release, and its port to the device."""
    device, now = await device_in(job), job.parts.clock.now()
    if (held := await machine_of_device(job.db, device.id)) is not None:
        return Done({"machine": str(held.id)})
    tried = [UUID(machine) for machine in job.data.get("tried", [])]
    asked = await hooks_follow_placing(job)
    allowed = await allowed_machine(job, device, tried) if asked else None
    if isinstance(allowed, Wait):
        return allowed
    try:
        async with job.transaction() as conn:
            if not asked:
                if device.reservation_id is None:
                    # Each order in its turn: many of one customer keep nobody else from a machine.
                    turn = await conn.fetchrow(Q["turn_in_pool"], device.id, device.facility_id, device.plan_id)
                    if turn is not None and not turn["mine"]:
                        return await _no_machine(conn, device, ahead=turn["ahead"])
                machine = await pick_machine(
                    conn,
                    device.facility_id,
                    device.plan_id,
                    tried=tried,
                    now=now,
                    reservation_id=device.reservation_id,
                )
            else:
                machine = None if allowed is None else await ready_machine(conn, allowed)
            if machine is None and allowed is not None:
                return next_one(job, "the machine that was asked about is another order's by now")
            if machine is None:
                return await _no_machine(conn, device)
            wanted = await _links_wanted(conn, job, device, machine)
            await rehome(conn, device.id, whereabouts(device, machine), now=now, by=f"run:{job.run_id}")
            await conn.execute(Q["give_machine"], machine.id, device.id)
            await move_machine(conn, replace(machine, device_id=device.id), MachineEvent.PLACE, now=now)
            await set_port(conn, machine.port_id, "active", device.id, now=now)
            port = await conn.fetchrow(Q["port_by_id"], machine.port_id)
            await move_device(conn, device, DeviceEvent.PLACED, now=now)
            await add_event(conn, "provisioning.101", "Provisioning started", device_id=device.id)
            await give_release(conn, job, device, machine)
            # Last of all: every order of the facility waits for these prefixes until this transaction has ended.
            cool_down = timedelta(seconds=job.parts.settings.cool_down_s)
            links = await take_each(conn, wanted, now=now, cool_down=cool_down)
            addresses = ", ".join(str(link.host.ip) for link in links)
            body = f"Network configured with addresses {addresses}"
            await add_event(conn, "provisioning.102", body, device_id=device.id)
    except IpamError as err:
        return Failed(f"{err.__doc__} {err}")
    return Done({"machine": str(machine.id), "generation": port["generation"]})


async def _no_machine(conn: Connection, device: Device, *, ahead: int = 0) -> Outcome:
    rows = await conn.fetch(Q["machines_like"], device.facility_id, device.plan_id, device.reservation_id)
    held = sum(row["held"] for row in rows)
    there = ", ".join(f"{row['machines']} {row['state']}" for row in rows) or "none at all"
    there += f", {held} of them held back" if held else ""
    if device.reservation_id is not None:
        return Wait(f"the reserved machine is not ready ({there})", 10.0)
    before = f"; {ahead} orders are before this one" if ahead else ""
    return Wait(f"no machine of plan {device.plan} is ready in {device.facility} ({there}){before}", 10.0)


async def wait_on(job: Job) -> Outcome:
    """Who was told how long it takes, and agreed to it, waits for so long."""
    device, now = await device_in(job), job.parts.clock.now()
    until = device.wanted_by
    if until is not None and now < until:
        return Wait(
            f"no {device.plan} is ready in {device.facility}; it is waited for until {until:%H:%M:%S} UTC", 10.0
        )
    return Failed(f"no machine of plan {device.plan} became ready in {device.facility} in time")


async def give_up(job: Job) -> Outcome:
    """Give the machine back, with the device's addresses, and let the device fail with the reason."""
    device, now = await device_in(job), job.parts.clock.now()
    reason = await job.db.fetchval(Q["failure_of_run"], job.run_id)
    async with job.transaction() as conn:
        await end_install(conn, job.run_id, now=now, failed=reason or "given up")
        machine = await machine_of_device(conn, device.id)
        if machine is not None and machine.state is MachineState.IN_USE and device.state == "reinstalling":
            # A reinstall that never began: the device runs on as it was.
            await move_device(conn, device, DeviceEvent.PROVED, now=now, failure=reason)
            await add_event(
                conn, "instance.reinstall", f"Not reinstalled: {reason}", device_id=device.id, state="failed"
            )
            return Done()
        if machine is not None:
            limit = timedelta(seconds=job.parts.settings.erase_limit_s)
            await start_prepare(conn, machine.id, device.id, f"its order failed: {reason}", now=now, limit=limit)
        if device.state in ("queued", "provisioning", "reinstalling"):
            await move_device(conn, device, DeviceEvent.GAVE_UP, now=now, failure=reason)
            body = "Provisioning failed"
            await add_event(conn, "provisioning.failed", body, device_id=device.id, state="failed")
            await add_event(conn, "failure", reason or body, device_id=device.id, private=True, data={"reason": reason})
        await let_go(conn, device.id, now=now, by=f"run:{job.run_id}")
    return Done()


async def another_machine(job: Job, reason: str, *, stage: Stage | None = None, never_on_leaf: bool = False) -> Outcome:
    """Another machine for the device. The old one keeps nothing: its port is closed and its addresses end with it; at
    once when the leaf never had them. Whoever failed on a release that was being tried out gets the one before."""
    tried = [*job.data.get("tried", []), job.data["machine"]]
    avoid = await release_to_avoid(job, stage)
    if len(tried) > _REPLACEMENTS + (avoid is not None):
        return Failed(f"{reason}; {len(tried)} machines were tried")
    now, machine = job.parts.clock.now(), await machine_in(job)
    async with job.transaction() as conn:
        await end_install(conn, job.run_id, now=now, failed=reason, stage=stage)
        if machine.device_id == job.subject:
            limit = timedelta(seconds=job.parts.settings.erase_limit_s)
            await start_prepare(conn, machine.id, job.subject, reason, now=now, limit=limit)
            if never_on_leaf:
                await addresses_back(conn, job.subject, now=now, by=f"run:{job.run_id}")
        await conn.execute(Q["forget_phone_home"], job.subject)
    again = {"tried": tried, "netboots": 0, "avoid": avoid, **NO_WAY_TRIED}
    return Back("await_addresses", reason, again)


async def await_addresses(job: Job) -> Outcome:
    """Only after a replacement: the lost machine's port must be closed before its addresses have ended."""
    if await machine_of_device(job.db, job.subject) is not None:
        return Done()
    if any(tenure.kind == "held" for tenure in await held_by(job.db, job.subject)):
        return Wait("the port of the machine that failed is being closed", 2.0)
    return Done()


async def addresses_stuck(job: Job) -> Outcome:
    """The port was not closed in time."""
    return Failed("the leaf of the machine that failed does not let go of its addresses")

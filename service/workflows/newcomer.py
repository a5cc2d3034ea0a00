"""From an unknown machine at a free port to one that is prepared for the pool, without a human.

The run's subject is the leaf's port. What the machine tells is held against the leaf, the records and the plans' bills
of materials, and its BMC is found; then it is enrolled and goes through burn-in and preparation like any other. Where
something does not agree it stays in the installer, its port closed to all but the boot services, with the reason on
it; it is looked at again when it boots again, when a plan or a BMC access changes, and when an operator says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from ipam.history import correct
from ipam.ledger import held_by
from service.bom import arch_of, best
from service.newcomers import Found, alive, macs_of, name_for, objection, serial_of
from service.power.finding import System, found_at, urls_of
from service.secrets import open_sealed, seal
from service.settings import Settings, listed
from service.store.events import add_event
from service.store.hardware import machine_by_id
from service.store.newcomers import BmcAccess, accesses_for, fits_of, known_like, place_of
from service.store.newcomers import found_at as found_at_port
from service.store.rows import Connection
from service.store.runs import start_run
from service.workflow import Back, Done, Failed, Job, Outcome, Step, Wait, Workflow
from service.workflows.burn_in import PARTS, start_burn_in
from service.workflows.prepare import start_prepare
from sql.loader import Q

log = structlog.get_logger()


async def judge(conn: Connection, port_id: UUID, *, now: datetime, settings: Settings) -> None:
    """Have what is at a free port looked at, unless that is under way. In the caller's transaction."""
    await conn.execute(Q["lock_port"], port_id)
    if await conn.fetchval(Q["run_under_way"], port_id):
        return
    await conn.fetch(Q["discovery_judged"], port_id, "waiting", None, now)
    limit = timedelta(seconds=settings.newcomer_limit_s)
    await start_run(conn, NEWCOMER.name, port_id, NEWCOMER.steps[0].name, now=now, deadline=now + limit)


async def judge_again(
    conn: Connection,
    *,
    now: datetime,
    settings: Settings,
    facility: str | None = None,
    leaf: str | None = None,
    port: str | None = None,
) -> int:
    """Look again at all in quarantine, or those of a facility, leaf or port: how many. In the caller's transaction."""
    ports = [row["port_id"] for row in await conn.fetch(Q["ports_to_judge_again"], facility, leaf, port)]
    for port_id in ports:
        await judge(conn, port_id, now=now, settings=settings)
    return len(ports)


async def _there(job: Job) -> list[Found]:
    return alive(await found_at_port(job.db, job.subject), job.parts.clock.now())


async def _hear(job: Job) -> Outcome:
    """Wait until the machine has told all of itself, its neighbours last, and the leaf was read since it came."""
    there = await _there(job)
    place = await place_of(job.db, job.subject)
    if not there:
        return Failed(f"{place.where}: what was found there has fallen silent")
    if len(there) == 1 and "lldp" not in there[0].inventory:
        return Wait(f"{there[0].mac} at {place.where} has not yet told who its neighbours are", 5.0)
    leaf_id = (await job.db.fetchrow(Q["port_by_id"], job.subject))["leaf_id"]
    if "read_asked" not in job.data:
        asked = (await job.db.fetchrow(Q["ask_leaf_read"], leaf_id))["read_asked_at"]
        return Wait(f"{place.leaf} is read, for whom it sees at {place.port}", 1.0, {"read_asked": asked.isoformat()})
    if not await job.db.fetchval(Q["leaf_seen_since"], leaf_id, datetime.fromisoformat(job.data["read_asked"])):
        return Wait(f"{place.leaf} has not been read yet", 1.0)
    return Done()


async def _heard_enough(job: Job) -> Outcome:
    """Not all was told in time: what matters is whether the machine said who it is connected to."""
    place, there = await place_of(job.db, job.subject), await _there(job)
    if there and "lldp" in there[0].inventory:
        return Done()  # the leaf could not be read; it sees nothing that would speak against it
    return Failed(f"{place.where}: what was found there did not tell who its neighbours are")


async def _match(job: Job) -> Outcome:
    """Where it is, by everybody who can tell."""
    place, there = await place_of(job.db, job.subject), await _there(job)
    known = await known_like(job.db, macs_of(there[0]), serial_of(there[0])) if there else []
    if why := objection(there, place, known):
        return Failed(why)
    return Done({"mac": there[0].mac})


async def _choose_plan(job: Job) -> Outcome:
    one = await _same(job)
    if isinstance(one, Failed):
        return one
    plan, why = best(await fits_of(job.db, dict(one.inventory)))
    if plan is None:
        return Failed(f"{one.mac} at {(await place_of(job.db, job.subject)).where}: {why}")
    return Done({"plan": plan})


async def _same(job: Job) -> Found | Failed:
    """Who was matched, as he is now."""
    for one in await _there(job):
        if one.mac == job.data["mac"]:
            return one
    where = (await place_of(job.db, job.subject)).where
    return Failed(f"{where}: {job.data['mac']} has fallen silent")


async def _find_bmc(job: Job) -> Outcome:
    one = await _same(job)
    if isinstance(one, Failed):
        return one
    place = await place_of(job.db, job.subject)
    accesses = await accesses_for(job.db, job.subject)
    part = one.inventory.get("bmc")
    told = str(part.get("address") or "") if isinstance(part, dict) else ""
    complaints: list[str] = []
    for access in accesses:
        urls = urls_of(access.url, told, access.search)
        password = open_sealed(job.parts.key, access.secret)
        systems, silent = await found_at(urls, access.username, password)
        complaints += silent
        used = {row["bmc_url"] for row in await job.db.fetch(Q["bmcs_in_use"], [system.url for system in systems])}
        system, why = _its_own(access, [system for system in systems if system.url not in used], one)
        if system is not None:
            return Done({"bmc": {"url": system.url, "access": str(access.id)}})
        complaints += [why] if why else []
    if not accesses:
        complaints = [f"nobody has said where BMCs of {place.facility} are"]
    elif told:
        complaints.insert(0, f"it tells of one at {told}")
    return Failed(
        f"{one.mac} at {place.where}: its BMC was not found: {'; '.join(complaints[:5]) or 'none is its own'}"
    )


def _its_own(access: BmcAccess, systems: Iterable[System], one: Found) -> tuple[System | None, str]:
    """The system that is the machine's. An operator's word for one port holds unless the BMC contradicts it."""
    judged = [(system, system.same(one.inventory)) for system in systems]
    for system, same in judged:
        if same:
            return system, ""
    if access.of_port and len(judged) == 1:
        system, same = judged[0]
        if same is None:
            return system, ""
        who = ", ".join(filter(None, (system.serial, *system.macs)))
        return None, f"the one at {system.url} belongs to another machine ({who})"
    return None, ""


async def _enrol(job: Job) -> Outcome:
    """On record from here on, and on its way to the pool."""
    one = await _same(job)
    if isinstance(one, Failed):
        return one
    parts, place, bmc = job.parts, await place_of(job.db, job.subject), job.data["bmc"]
    name = name_for(parts.settings.machine_names, place, serial_of(one))
    if name is None:
        return Failed(f"{place.where}: none of the schemes {parts.settings.machine_names!r} names this machine")
    said = {str(access.id): access for access in await accesses_for(job.db, job.subject)}
    access = said.get(bmc["access"])
    if access is None:
        return Back("find_bmc", "what was said of its BMC is no longer said")
    secret = seal(parts.key, open_sealed(parts.key, access.secret))
    now, settings = parts.clock.now(), parts.settings
    row: tuple[Any, ...] = (job.subject, job.data["plan"], name, one.mac, arch_of(one.inventory))
    row += (bmc["url"], access.username, secret, one.inventory.get("secure_boot") is True, dict(one.inventory))
    try:
        async with job.transaction() as conn:
            machine_id = await conn.fetchval(Q["bring_in_machine"], *row)
            await _write_down(conn, job, machine_id)
            await conn.fetch(Q["forget_discovery"], job.subject)
            body = f"{name} was found at {place.where}, is a {job.data['plan']}, and is enrolled"
            found = {"plan": job.data["plan"], "mac": one.mac, "bmc_url": bmc["url"]}
            await add_event(conn, "machine.enrolled", body, machine_id=machine_id, private=True, data=found)
            burnt = [part for part in listed(settings.newcomer_burn_in_parts) if part in PARTS]
            if seconds := settings.newcomer_burn_in_s:
                await start_burn_in(conn, machine_id, seconds=seconds, parts=burnt, now=now, settings=settings)
            else:
                limit = timedelta(seconds=settings.erase_limit_s)
                await start_prepare(conn, machine_id, None, "it was found", now=now, limit=limit)
    except asyncpg.UniqueViolationError as err:
        return Failed(f"{place.where}: {name} cannot be enrolled: {err.detail}")
    return Done({"machine": str(machine_id)})


async def _write_down(conn: Connection, job: Job, machine_id: UUID) -> None:
    """The ledger tells whose the port's boot link is from now on."""
    machine = await machine_by_id(conn, machine_id)
    told = {"machine": machine.name, "leaf": machine.leaf, "port": machine.port, "mac": machine.mac}
    for link in await held_by(conn, job.subject):
        if link.slot in ("boot", "boot6"):
            why = f"{machine.name} was found at {machine.leaf} {machine.port}"
            await correct(conn, link.id, why, by=f"run:{job.run_id}", note=told)


async def _quarantine(job: Job) -> Outcome:
    """It stays where it is, with the reason; who was enrolled meanwhile is not concerned."""
    reason = await job.db.fetchval(Q["failure_of_run"], job.run_id)
    async with job.transaction() as conn:
        rows = await conn.fetch(Q["discovery_judged"], job.subject, "quarantined", reason, job.parts.clock.now())
        if rows:
            log.warning("newcomer_quarantined", port=str(job.subject), reason=reason)
            data = {"macs": [row["mac"] for row in rows]}
            with contextlib.suppress(KeyError):
                data["mac"] = job.data["mac"]
            await add_event(conn, "machine.not_enrolled", f"Not enrolled: {reason}", private=True, data=data)
    return Done()


NEWCOMER = Workflow(
    "newcomer",
    (
        Step("hear", _hear, "newcomer_hear_s", undo=_quarantine, overrun=_heard_enough),
        Step("match", _match, "newcomer_hear_s"),
        Step("choose_plan", _choose_plan, "newcomer_hear_s"),
        Step("find_bmc", _find_bmc, "newcomer_hear_s"),
        Step("enrol", _enrol, "newcomer_hear_s"),
    ),
)

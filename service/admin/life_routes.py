"""Hardware that leaves the pool: maintenance, giving back, evidence for its maker, retirement."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
from pydantic import Field

from service.admin import hardware_schemas
from service.admin.asked_first import Asks, hooks_allow, still_allowed
from service.admin.named import machine_id_in, machine_in
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Strict, read
from service.api.problems import Invalid, not_found, shown
from service.api.waterfall import stages_of
from service.bmcs import bmc_of
from service.certificates import certificates_of
from service.inventories import changes
from service.lifecycle import IllegalMove, MachineEvent, MachineState
from service.policy import Right
from service.power.errors import PowerError
from service.rma import evidence_text, public_key, sign, signer
from service.secrets import SecretUnreadable
from service.spellings import MAC
from service.store.hardware import Machine, StateMoved, machine_by_id
from service.store.rows import Connection
from service.workflows.leaving import give_back, give_back_asks, maintain, maintain_asks, retire, retire_asks
from sql.loader import Q

_BMC_S = 30.0  # that its BMC is listened to

_Reason = Annotated[str, Field(min_length=3, max_length=500)]


class Maintain(Strict):
    """Why a machine leaves the pool."""

    reason: _Reason


class GiveBack(Strict):
    """Of a machine that comes back: the card that it boots from now, where that was exchanged."""

    mac: Annotated[str, Field(pattern=f"^{MAC}$")] | None = None


class Retire(Strict):
    """Why a machine goes for good, and whether its disks are gone, so that nothing can be erased."""

    reason: _Reason
    disks_gone: bool = False


Start = Callable[[Connection, UUID, datetime], Awaitable[None]]


async def maintain_machine(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/maintain: take it out of the pool; one in use leaves when its device is gone"""
    wish = read(Maintain, call.body)

    async def start(conn: Connection, machine_id: UUID, now: datetime) -> None:
        await maintain(conn, machine_id, wish.reason, now=now)

    return await _asked_and_started(call, maintain_asks, start)


async def give_machine_back(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/give-back: erase it and send it to the pool; or have it stay after all"""
    wish = read(GiveBack, call.body)

    async def start(conn: Connection, machine_id: UUID, now: datetime) -> None:
        try:
            await give_back(conn, machine_id, mac=wish.mac, now=now, settings=call.api.settings)
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Mac is not valid: {shown(wish.mac)} is the card of another machine") from None

    return await _asked_and_started(call, give_back_asks, start)


async def retire_machine(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/retire: erase it with a certificate, free its port, forget its BMC's secret"""
    wish = read(Retire, call.body)

    async def start(conn: Connection, machine_id: UUID, now: datetime) -> None:
        await retire(*(conn, machine_id, wish.reason), disks_gone=wish.disks_gone, now=now, settings=call.api.settings)

    async def asks(conn: Connection, machine: Machine) -> tuple[MachineEvent, ...]:
        return await retire_asks(conn, machine, disks_gone=wish.disks_gone)

    return await _asked_and_started(call, asks, start)


async def _asked_and_started(call: Call, asks: Asks, start: Start) -> Body:
    seen = await machine_in(call)
    await hooks_allow(call, seen, asks)
    async with call.db.acquire() as conn, conn.transaction():
        machine_id = await machine_id_in(call, conn)
        await still_allowed(conn, machine_id, seen, asks)
        try:
            await start(conn, machine_id, call.api.clock.now())
        except (IllegalMove, StateMoved) as err:
            raise Invalid(str(err)) from None
        machine = await machine_by_id(conn, machine_id)
    return {"id": str(machine_id), "state": machine.state, "leaving": machine.leaving}


async def open_rma(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/rma: gather and sign what is known of it, and take it out of the pool"""
    wish = read(Maintain, call.body)
    now, ring = call.api.clock.now(), call.api.key
    seen = await machine_in(call)
    await hooks_allow(call, seen, _rma_asks)
    told = await _told_by_bmc(call)
    async with call.db.acquire() as conn, conn.transaction():
        machine_id = await machine_id_in(call, conn)
        machine = await still_allowed(conn, machine_id, seen, _rma_asks)
        if machine.device_id is not None:
            raise Invalid(f"{machine.name} serves device {machine.device_id}; have it leave for maintenance first")
        if await conn.fetchval(Q["rma_under_way"], machine_id):
            raise Invalid(f"{machine.name} has an open RMA; give it back, or retire it")
        if machine.state is MachineState.PREPARING:
            raise Invalid(f"{machine.name} is being prepared; ask again when that has ended")
        evidence = await _evidence(call, conn, machine, wish.reason, now) | {"bmc": told}
        if machine.state is not MachineState.MAINTENANCE:
            try:
                await maintain(conn, machine_id, f"RMA: {wish.reason}", now=now)
            except (IllegalMove, StateMoved) as err:
                raise Invalid(str(err)) from None
        rma_id, text = uuid4(), evidence_text(evidence)
        row = (rma_id, machine_id, wish.reason, now, call.caller.actor, text, sign(ring, text), evidence["inventory"])
        await conn.execute(Q["open_rma"], *row)
    return {"id": str(rma_id), "machine": machine.name, "reason": wish.reason, "bytes": len(text.encode())}


async def _rma_asks(conn: Connection, machine: Machine) -> tuple[MachineEvent, ...]:
    """Nothing where it stays where it is, or is refused."""
    if machine.device_id is not None or machine.state in (MachineState.MAINTENANCE, MachineState.PREPARING):
        return ()
    return await maintain_asks(conn, machine)


async def _told_by_bmc(call: Call) -> dict[str, Any]:
    """Health, sensors and logs; why there are none where the BMC is what is broken, or asleep."""
    async with call.db.acquire() as conn:
        machine = await machine_in(call, conn)
    try:
        async with asyncio.timeout(_BMC_S), bmc_of(call.db, call.api.key, machine) as bmc:
            return await bmc.evidence()
    except (PowerError, SecretUnreadable, TimeoutError) as err:
        return {"unknown": f"{type(err).__name__}: {err}"}


async def _evidence(call: Call, conn: Connection, machine: Machine, reason: str, now: datetime) -> dict[str, Any]:
    """All that helps a maker to see what is wrong, and a provider to show that it was."""
    certificates = await certificates_of(conn, call.api.key, machine.id)
    return {
        "form": 1,
        "made_at": now,
        "reason": reason,
        "machine": {
            "name": machine.name,
            "facility": machine.facility,
            "plan": machine.plan,
            "mac": machine.mac,
            "arch": machine.arch,
            "state": machine.state,
            "state_reason": machine.reason,
            "state_since": machine.state_since,
            "leaf": machine.leaf,
            "port": machine.port,
        },
        "inventory": await conn.fetchval(Q["inventory_of_machine"], machine.id),
        "work": [dict(row) for row in await conn.fetch(Q["work_told_by_machine"], machine.id)],
        "certificates": [
            {"id": one.id, "made_at": one.created_at, "valid": one.valid, "disks": one.disks} for one in certificates
        ],
        "events": [dict(row) for row in await conn.fetch(Q["told_of_machine"], machine.id)],
        "runs": await stages_of(call.api, machine.id),
        "links": [dict(row) for row in await conn.fetch(Q["port_history"], machine.name)],
    }


async def list_rmas(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/rmas: its RMAs, newest first, with what changed of the hardware since each"""
    ids = [row["id"] for row in await call.db.fetch(Q["machines_ever_named"], call.ids["machine"])]
    if not ids:
        raise not_found()
    return {"rmas": [_rma(row) for row in await call.db.fetch(Q["rmas_of_machine"], ids)]}


def _rma(row: Any) -> Body:
    closed = row["closed_at"]
    return {
        "id": str(row["id"]),
        "machine": row["machine"],
        "reason": row["reason"],
        "opened_at": stamp(row["opened_at"]),
        "opened_by": row["opened_by"],
        "closed_at": None if closed is None else stamp(closed),
        "changes": row["changes"] if closed is not None else changes(row["inventory"], row["inventory_now"]),
    }


async def get_rma(call: Call) -> Body:
    """GET /admin/v1/rmas/{rma}: the evidence as it was signed, with the signature (Ed25519) and the public key"""
    row = await call.db.fetchrow(Q["rma_by_id"], call.id("rma"))
    if row is None:
        raise not_found()
    key = signer(call.api.key, row["evidence"], row["signature"])
    return {
        "id": str(row["id"]),
        "machine": row["machine"],
        "evidence": row["evidence"],
        "signature": base64.b64encode(row["signature"]).decode(),
        "public_key": key or public_key(call.api.key),
        "valid": key is not None,
    }


ROUTES = (
    *(
        Route(
            "POST",
            f"/admin/v1/machines/{{machine}}/{verb}",
            act,
            status=202,
            right=Right.FACILITY,
            body=body,
            answer=hardware_schemas.MachineMoved,
        )
        for verb, act, body in (
            ("maintain", maintain_machine, Maintain),
            ("give-back", give_machine_back, GiveBack),
            ("retire", retire_machine, Retire),
        )
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/rma",
        open_rma,
        status=201,
        right=Right.FACILITY,
        body=Maintain,
        answer=hardware_schemas.RmaOpened,
    ),
    Route(
        "GET",
        "/admin/v1/machines/{machine}/rmas",
        list_rmas,
        right=Right.LOOK,
        objects="rmas",
        answer=hardware_schemas.Rma,
    ),
    Route("GET", "/admin/v1/rmas/{rma}", get_rma, right=Right.LOOK, answer=hardware_schemas.RmaEvidence),
)

"""Runs for operators: one with its stages, to hurry it, and to call it off."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pgqueuer.queries import Queries
from pydantic import StringConstraints

from service.admin import order_schemas
from service.admin.read import run_object
from service.api.call import Body, Call, Route
from service.api.models import Request, read
from service.api.problems import Invalid, not_found, shown
from service.api.waterfall import stages_of
from service.policy import Right
from service.store.events import add_event
from service.store.racks import runs_seen
from service.store.rows import Connection
from service.store.runs import hint
from sql.loader import Q

# What is cut short here leaves something that only an operator can judge: half an erased disk, half a firmware.
_GUARDED = {("prepare", "erase"), ("burn_in", "burn_in"), ("burn_in", "erase"), ("firmware", "firmware")}


class Retry(Request):
    """`force`: the step's time begins anew, and the run's with it."""

    force: bool = False


class Cancel(Request):
    """Why; it is what the device or machine shows from then on. `force`: also in the middle of an erase or firmware."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    force: bool = False


async def _id(call: Call) -> UUID:
    """The path's run, by its id or the beginning of it. Raises Refused."""
    rows = await call.db.fetch(Q["runs_starting"], call.ids["run"])
    if not rows:
        raise not_found()
    if len(rows) > 1:
        raise Invalid(f"{shown(call.ids['run'])} is not one run: more of the id is needed")
    return UUID(str(rows[0]["id"]))


async def _shown(call: Call, run_id: UUID) -> Body:
    (seen,) = await runs_seen(call.db, ended_too=True, run_id=run_id)
    run = next(one for one in await stages_of(call.api, seen.subject) if one["id"] == str(run_id))
    return {**run_object(seen), "stages": run["stages"]}


async def get_run(call: Call) -> Body:
    """GET /admin/v1/runs/{run}: by id or its beginning, with its stages"""
    return await _shown(call, await _id(call))


async def _under_way(conn: Connection, run_id: UUID, what: str) -> Any:
    """The run, locked. Raises Refused when it has ended."""
    row = await conn.fetchrow(Q["lock_run"], run_id)
    if row["finished_at"] is not None:
        raise Invalid(f"run {run_id} has ended as {row['state']} and cannot be {what}; start it again at its subject")
    return row


async def _tell(conn: Connection, row: Any, type_: str, body: str, by: str) -> None:
    device_id = await conn.fetchval(Q["device_with_id"], row["subject"])
    machine_id = None if device_id is not None else row["subject"]
    data = {"run": str(row["id"]), "by": by}
    await add_event(conn, type_, body, device_id=device_id, machine_id=machine_id, private=True, data=data)


async def retry_run(call: Call) -> Body:
    """POST /admin/v1/runs/{run}/retry: look again now; with force its present step gets its whole budget again"""
    wish, run_id, now = read(Retry, call.body), await _id(call), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        row = await _under_way(conn, run_id, "tried again")
        signals = await conn.fetchval(Q["hurry_run"], run_id, now, wish.force)
        await _tell(conn, row, "run.retried", f"{row['workflow']}: {row['step']} is tried again", call.caller.actor)
        await hint(Queries.from_asyncpg_connection(conn), {f"{run_id}:{signals}": run_id})
    return await _shown(call, run_id)


async def cancel_run(call: Call) -> Body:
    """POST /admin/v1/runs/{run}/cancel: call it off; what it has done is undone as if its step had failed"""
    wish, run_id, now = read(Cancel, call.body), await _id(call), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        row = await _under_way(conn, run_id, "called off")
        if row["state"] != "running":
            raise Invalid(f"run {run_id} is {row['state']} already")
        if (row["workflow"], row["step"]) in _GUARDED and not wish.force:
            raise Invalid(
                f"force is false: {row['workflow']} is at {row['step']}, and what is cut short there leaves the machine"
                " in quarantine; say force to do it nevertheless"
            )
        held = await conn.fetchrow(Q["take_run_away"], run_id)
        step = row["step"]
        await conn.fetchval(
            Q["advance_run"], run_id, held["epoch"], step, step, held["data"], "undoing", now, "failed", wish.reason
        )
        await conn.execute(Q["withdraw_work"], row["subject"], now)
        await _tell(conn, row, "run.cancelled", f"{row['workflow']} was called off: {wish.reason}", call.caller.actor)
        await hint(Queries.from_asyncpg_connection(conn), {f"{run_id}:cancel:{held['epoch']}": run_id})
    return await _shown(call, run_id)


ROUTES = (
    Route("GET", "/admin/v1/runs/{run}", get_run, right=Right.LOOK, answer=order_schemas.RunWhole),
    Route(
        "POST",
        "/admin/v1/runs/{run}/retry",
        retry_run,
        status=202,
        right=Right.OPERATE,
        body=Retry,
        answer=order_schemas.RunWhole,
    ),
    Route(
        "POST",
        "/admin/v1/runs/{run}/cancel",
        cancel_run,
        status=202,
        right=Right.OPERATE,
        body=Cancel,
        answer=order_schemas.RunWhole,
    ),
)

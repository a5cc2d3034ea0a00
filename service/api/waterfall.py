"""An order's waterfall: every stage with its budget and the time that it took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.api.call import Api, Body, Call
from service.api.problems import not_found
from service.settings import Settings
from service.store.orders import devices
from service.workflow import Workflow
from service.workflows.power import POWER
from service.workflows.prepare import PREPARE
from service.workflows.provision import PROVISION, REINSTALL
from sql.loader import Q

WORKFLOWS = {workflow.name: workflow for workflow in (PROVISION, REINSTALL, POWER, PREPARE)}


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _budget(workflow: Workflow | None, step: str, settings: Settings) -> float | None:
    """Seconds that the step may wait; None for a step of another version of the program."""
    for one in workflow.steps if workflow is not None else ():
        if one.name == step:
            return float(getattr(settings, one.budget))
    return None


async def stages_of(api: Api, subject: UUID) -> list[Body]:
    """All runs of a device or machine, oldest first, each with its stages; those still to come are `pending`."""
    settings, now = api.settings, api.clock.now()
    rows = await api.db.fetch(Q["steps_of_device"], subject)
    work = {(row["run_id"], row["kind"]): row for row in await api.db.fetch(Q["progress_of_device"], subject)}
    runs: dict[UUID, Body] = {}
    for row in rows:
        run = runs.setdefault(row["run_id"], _run(row))
        ended, progress = row["step_finished_at"], work.get((row["run_id"], row["step"]))
        if ended is None and row["finished_at"] is not None:
            ended = row["finished_at"]
        waiting = row["state"] == "started" and row["run_state"] == "running"
        run["stages"].append(
            {
                "step": row["step"],
                "attempt": row["attempt"],
                "state": "running" if waiting else "ended" if row["state"] == "started" else row["state"],
                "reason": row["waits_for"] if waiting else row["reason"],
                "budget_s": _budget(WORKFLOWS.get(row["workflow"]), row["step"], settings),
                "offset_s": round((row["started_at"] - row["created_at"]).total_seconds(), 3),
                "actual_s": round(((ended or now) - row["started_at"]).total_seconds(), 3),
                "started_at": _moment(row["started_at"]),
                "finished_at": _moment(ended),
                "percent": None if progress is None else round(progress["percent"], 1),
                "detail": None if progress is None else progress["stage"],
            }
        )
    for run in runs.values():
        run["stages"] += _pending(run, settings)
    return list(runs.values())


def _run(row: Any) -> Body:
    return {
        "id": str(row["run_id"]),
        "workflow": row["workflow"],
        "state": row["run_state"],
        "reason": row["waits_for"],
        "failure": row["failure"],
        "created_at": _moment(row["created_at"]),
        "deadline": _moment(row["deadline"]),
        "finished_at": _moment(row["finished_at"]),
        "stages": [],
    }


def _pending(run: Body, settings: Settings) -> list[Body]:
    workflow = WORKFLOWS.get(run["workflow"])
    if run["state"] != "running" or workflow is None or not run["stages"]:
        return []
    names = [step.name for step in workflow.steps]
    last = run["stages"][-1]["step"]
    if last not in names:
        return []
    return [
        {
            "step": name,
            "attempt": 1,
            "state": "pending",
            "reason": None,
            "budget_s": _budget(workflow, name, settings),
            "offset_s": None,
            "actual_s": 0.0,
            "started_at": None,
            "finished_at": None,
            "percent": None,
            "detail": None,
        }
        for name in names[names.index(last) + 1 :]
    ]


async def get_waterfall(call: Call) -> Body:
    """GET /devices/{device}/waterfall: how the order went, stage by stage, with budgets"""
    device_id = call.id("device")
    found = await devices(call.db, call.caller, [device_id])
    if not found:
        raise not_found()
    order = found[0].order
    return {
        "device": call.links.to("devices", device_id),
        "hostname": order.hostname,
        "state": order.state,
        "failure": order.failure,
        "created_at": _moment(order.created_at),
        "active_at": _moment(order.active_at),
        "deadline": _moment(order.deadline),
        "runs": await stages_of(call.api, device_id),
    }

"""What operators may look at: machines, leaves, runs, prefixes and the devices of all customers."""

from __future__ import annotations

from service.admin import leaf_schemas, schemas
from service.admin.named import machine_id_in
from service.advice import advice
from service.api import device_schemas, parameters
from service.api.call import Body, Call, Route
from service.api.device_routes import devices_body
from service.api.device_schemas import Device
from service.api.hook_objects import question
from service.api.links import stamp
from service.api.objects import event
from service.api.parameters import Parameter
from service.api.problems import not_found
from service.api.waterfall import stages_of
from service.policy import Right
from service.store.hooks import questions_seen
from service.store.orders import Event
from service.store.racks import (
    LeafSeen,
    MachineSeen,
    PortSeen,
    RunSeen,
    leaves_seen,
    machines_seen,
    prefixes_seen,
    runs_seen,
    tallies_seen,
)
from sql.loader import Q

_QUESTIONS = 10  # the latest that a machine is shown with


def _machine(one: MachineSeen, call: Call) -> Body:
    device = None
    if one.device_id is not None:
        device = {"hostname": one.hostname, "state": one.device_state, **call.links.to("devices", one.device_id)}
    run = None
    if one.workflow is not None and one.step_since is not None:
        run = {"workflow": one.workflow, "step": one.step, "reason": one.waits_for, "step_since": stamp(one.step_since)}
    return {
        "id": str(one.id),
        "name": one.name,
        "facility": one.facility,
        "plan": one.plan,
        "arch": one.arch,
        "mac": one.mac,
        "state": one.state,
        "reason": one.reason,
        "held": one.held,
        "flag": one.flag,
        "state_since": stamp(one.state_since),
        "leaving": one.leaving,
        "advice": advice(one.state, one.reason, one.leaving),
        "leaf": one.leaf,
        "port": one.port,
        "profile": one.profile or None,  # a machine that was retired hangs on no port
        "rack": one.rack,
        "rack_unit": one.rack_unit,
        "port_applied": one.applied >= one.generation,
        "port_fault": one.fault,
        "device": device,
        "agent_seen_at": None if one.agent_seen_at is None else stamp(one.agent_seen_at),
        "run": run,
        "href": f"/admin/v1/machines/{one.id}",
    }


def _port(one: PortSeen, call: Call) -> Body:
    return {
        "name": one.name,
        "profile": one.profile,
        "generation": one.generation,
        "applied": one.applied,
        "fault": one.fault,
        "changed_at": stamp(one.changed_at),
        "take_over": one.take_over,
        "seen_mac": one.seen_mac,
        "seen_name": one.seen_name,
        "seen_at": None if one.seen_at is None else stamp(one.seen_at),
        "machine": one.machine,
        "machine_state": one.machine_state,
        "device": None
        if one.device_id is None
        else {"hostname": one.hostname, **call.links.to("devices", one.device_id)},
    }


def _leaf(one: LeafSeen, call: Call) -> Body:
    return {
        "id": str(one.id),
        "name": one.name,
        "facility": one.facility,
        "host": one.host,
        "port": one.port,
        "state": one.state,
        "fault": one.fault,
        "held": one.held,
        "ports": [_port(port, call) for port in one.port_list],
        "pending": one.pending,
        "faulty": one.faulty,
        "drifted": one.drifted,
        "read_at": None if one.running_at is None else stamp(one.running_at),
        "locked_since": None if one.locked_since is None else stamp(one.locked_since),
        "commit_s": one.commit_s,
        "database": one.database,
        "fabric": one.fabric,
        "href": f"/admin/v1/leaves/{one.id}",
    }


def run_object(one: RunSeen) -> Body:
    """A run with whom it is about."""
    return {
        "id": str(one.id),
        "workflow": one.workflow,
        "subject": str(one.subject),
        "about": one.hostname or one.machine,
        "state": one.state,
        "step": one.step,
        "reason": one.reason,
        "failure": one.failure,
        "attempt": one.attempt,
        "step_since": stamp(one.step_since),
        "wake_at": stamp(one.wake_at),
        "deadline": stamp(one.deadline),
        "created_at": stamp(one.created_at),
        "finished_at": None if one.finished_at is None else stamp(one.finished_at),
    }


async def list_machines(call: Call) -> Body:
    """GET /admin/v1/machines: narrowed by state, facility, plan, leaf"""
    found = await machines_seen(
        call.db,
        state=call.word("state"),
        facility=call.word("facility"),
        plan=call.word("plan"),
        leaf=call.word("leaf"),
    )
    return {"machines": [_machine(one, call) for one in found]}


async def get_machine(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}: by id or name, its inventory, runs and what hooks were asked"""
    found = await machines_seen(call.db, name=call.ids["machine"])
    if not found:
        raise not_found()
    runs = await stages_of(call.api, found[0].id)
    asked = [question(one) for one in await questions_seen(call.db, machine_id=found[0].id, limit=_QUESTIONS)]
    return {**_machine(found[0], call), "inventory": found[0].inventory, "runs": runs, "questions": asked}


async def machine_events(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/events: the latest fifty of the machine, oldest first"""
    machine_id = await machine_id_in(call)
    rows = await call.db.fetch(Q["events_of_machine"], machine_id)
    found = [Event(**row) for row in reversed(rows)]
    return {"events": [event(one, call.links, staff=True) for one in found]}


async def list_leaves(call: Call) -> Body:
    """GET /admin/v1/leaves: all leaves with their ports"""
    return {"leaves": [_leaf(one, call) for one in await leaves_seen(call.db)]}


async def get_leaf(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}: by id or name"""
    found = await leaves_seen(call.db, call.ids["leaf"])
    if not found:
        raise not_found()
    return _leaf(found[0], call)


async def list_runs(call: Call) -> Body:
    """GET /admin/v1/runs: those under way, or with `all=true` the latest thousand; narrowed by workflow and state"""
    found = await runs_seen(
        call.db, ended_too=bool(call.flag("all")), workflow=call.word("workflow"), state=call.word("state")
    )
    return {"runs": [run_object(one) for one in found]}


async def list_prefixes(call: Call) -> Body:
    """GET /admin/v1/prefixes: the tree in address order, with what is taken"""
    return {
        "prefixes": [
            {
                "id": one.prefix.id,
                "prefix": str(one.prefix.cidr),
                "parent": one.prefix.parent_id,
                "role": one.prefix.role,
                "facility": one.prefix.facility,
                "block_length": one.prefix.block_length,
                "blocks": one.prefix.blocks,
                "taken": one.taken,
                "utilization": round(one.taken / one.prefix.blocks, 6),
            }
            for one in await prefixes_seen(call.db)
        ]
    }


async def list_all_devices(call: Call) -> Body:
    """GET /admin/v1/devices: those of all customers, with the filters of a project's list"""
    return await devices_body(call)


async def summary(call: Call) -> Body:
    """GET /admin/v1/summary: how much there is of what"""
    found = await tallies_seen(call.db)
    median = None if found.median_s is None else round(float(found.median_s), 3)
    return {
        "devices": found.devices,
        "active": found.active,
        "failed": found.failed,
        "machines": found.machines,
        "ready": found.ready,
        "runs": found.runs,
        "median_order_s": median,
    }


_MACHINES = (
    Parameter("state", "In this state."),
    Parameter("facility", "At this facility, by code."),
    Parameter("plan", "Of this plan, by slug."),
    Parameter("leaf", "On this leaf, by name."),
)
_RUNS = (
    parameters.flag("all", "Also those that have ended, a thousand at most."),
    Parameter("workflow", "Of this workflow."),
    Parameter("state", "In this state."),
)

ADMIN_ROUTES = (
    Route(
        "GET",
        "/admin/v1/machines",
        list_machines,
        right=Right.LOOK,
        objects="machines",
        query=_MACHINES,
        answer=schemas.Machine,
    ),
    Route("GET", "/admin/v1/machines/{machine}", get_machine, right=Right.LOOK, answer=schemas.MachineWhole),
    Route(
        "GET",
        "/admin/v1/machines/{machine}/events",
        machine_events,
        right=Right.LOOK,
        objects="events",
        answer=device_schemas.Event,
    ),
    Route("GET", "/admin/v1/leaves", list_leaves, right=Right.LOOK, objects="leaves", answer=leaf_schemas.Leaf),
    Route("GET", "/admin/v1/leaves/{leaf}", get_leaf, right=Right.LOOK, answer=leaf_schemas.Leaf),
    Route("GET", "/admin/v1/runs", list_runs, right=Right.LOOK, objects="runs", query=_RUNS, answer=schemas.Run),
    Route("GET", "/admin/v1/prefixes", list_prefixes, right=Right.LOOK, objects="prefixes", answer=schemas.PrefixUse),
    Route(
        "GET",
        "/admin/v1/devices",
        list_all_devices,
        right=Right.LOOK,
        objects="devices",
        query=parameters.DEVICES,
        answer=Device,
    ),
    Route("GET", "/admin/v1/summary", summary, right=Right.LOOK, answer=schemas.Summary),
)

"""Leaves for operators: drift, exemptions, neighbours, configuration, and every action by plan and apply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from netconf.bootstrap import BadValue
from netconf.owned import desired_objects, owned_objects, rendered_objects
from netconf.statements import set_lines
from service.admin import leaf_schemas
from service.admin.leaf_objects import document, drifted_object, exemption_object, of_leaf, plan_object
from service.api import parameters
from service.api.call import Body, Call, Document, Route
from service.api.links import stamp
from service.api.models import Maybe, Request, Text, read
from service.api.problems import Invalid, Refused, not_found, shown
from service.hooks.asking import Vetoed
from service.leaves.actions import ACTIONS
from service.leaves.bootstrapping import BootstrapEntry, bootstrap_file
from service.leaves.cabling import Plug, findings
from service.leaves.desired import desired_leaf
from service.leaves.drifted import drift_on, lapsed
from service.leaves.plans import PlanSpent, apply_plan, make_plan, progress_of
from service.leaves.scene import ActionRefused
from service.policy import Right
from service.store.leaf_plans import LeafPlan, names_of, plan_by_id, plans_of
from service.store.leaves import LeafRow, ask_read, exemptions_of, leaf_row, running_of
from service.store.rows import Connection
from sql.loader import Q

_READ_S = 15.0


class PlanEntry(Request):
    """An action on a leaf, by name, and what it is told."""

    action: Text
    arguments: Maybe[dict[str, Any]] = None


async def _leaf(call: Call) -> LeafRow:
    row = await leaf_row(call.db, call.ids["leaf"])
    if row is None:
        raise not_found()
    return row


@asynccontextmanager
async def _moment(call: Call) -> AsyncIterator[Connection]:
    """A connection that sees one moment."""
    async with call.db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn


async def get_drift(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}/drift: as it was read last; `read=true` reads it now"""
    row = await _leaf(call)
    fresh = await ask_read(call.db, call.api.hub, row.id, timeout_s=_READ_S) if call.flag("read") else None
    async with _moment(call) as conn:
        row = await _leaf(call)
        drifted = await drift_on(conn, row, call.api)
    return {
        "leaf": row.name,
        "state": row.state,
        "fault": row.fault,
        "fresh": fresh,
        "read_at": None if row.running_at is None else stamp(row.running_at),
        "drifted": 0 if drifted is None else len(drifted.objects),
        "under_way": [] if drifted is None else list(drifted.under_way),
        "objects": [] if drifted is None else [drifted_object(one) for one in drifted.objects],
        "difference": "" if drifted is None else drifted.text,
    }


async def list_exemptions(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}/exemptions: what operators accept as it runs"""
    row = await _leaf(call)
    async with _moment(call) as conn:
        desired, _ = await desired_leaf(conn, row.id, row.name, call.api)
        accepted = await exemptions_of(conn, row.id, call.api.key)
        names = await names_of(conn, [one.accepted_by for one in accepted])
    ours = rendered_objects(desired)
    return {"exemptions": [exemption_object(one, names[one.accepted_by], lapsed=lapsed(one, ours)) for one in accepted]}


async def list_neighbors(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}/neighbors: who is recorded, and who is seen, at the other end of each port"""
    row = await _leaf(call)
    plugs = [Plug(**one) for one in await call.db.fetch(Q["cabling"], row.id)]
    return {"neighbors": of_leaf(plugs, row.name, findings(plugs))}


async def get_config(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}/config: ours as it should be, or with `running=true` as it was read; no secrets"""
    row = await _leaf(call)
    if call.flag("running"):
        running = running_of(row, call.api.key)
        objects = {} if running is None else owned_objects(running)
    else:
        async with _moment(call) as conn:
            desired, _ = await desired_leaf(conn, row.id, row.name, call.api)
        objects = desired_objects(desired)
    return {"leaf": row.name, "set": set_lines(objects), "xml": document(objects)}


async def make_bootstrap(call: Call) -> Document:
    """POST /admin/v1/leaves/{leaf}/bootstrap: the file that a new leaf is started with (ZTP); changes nothing"""
    row = await _leaf(call)
    given = read(BootstrapEntry, call.body)
    try:
        async with _moment(call) as conn:
            desired, _ = await desired_leaf(conn, row.id, row.name, call.api)
        return Document(bootstrap_file(row, desired, given, key=call.api.key), "text/plain")
    except BadValue as err:
        raise Invalid(str(err)) from None


async def add_plan(call: Call) -> Body:
    """POST /admin/v1/leaves/{leaf}/plans: what an action would do"""
    row = await _leaf(call)
    given = read(PlanEntry, call.body)
    action = ACTIONS.get(given.action)
    if action is None:
        raise Invalid(f"Action is not valid: {shown(given.action)}; allowed are {', '.join(ACTIONS)}")
    arguments = read(action.arguments, given.arguments or {})
    try:
        plan = await make_plan(call.api, row.id, given.action, arguments, by=call.caller.actor)
    except ActionRefused as err:
        raise Invalid(str(err)) from None
    return await _shown(call, plan)


async def list_plans(call: Call) -> Body:
    """GET /admin/v1/leaves/{leaf}/plans: the latest fifty"""
    row = await _leaf(call)
    plans = await plans_of(call.db, row.id)
    found = await progress_of(call.db, plans, call.api.clock.now())
    return {"plans": [plan_object(plan, progress) for plan, progress in zip(plans, found, strict=True)]}


async def _plan(call: Call) -> LeafPlan:
    plan = await plan_by_id(call.db, call.id("plan"))
    if plan is None:
        raise not_found()
    return plan


async def _shown(call: Call, plan: LeafPlan) -> Body:
    (progress,) = await progress_of(call.db, [plan], call.api.clock.now())
    return plan_object(plan, progress)


async def get_plan(call: Call) -> Body:
    """GET /admin/v1/leaf-plans/{plan}: also how far it has come, and what it waits for"""
    return await _shown(call, await _plan(call))


async def carry_out(call: Call) -> Body:
    """POST /admin/v1/leaf-plans/{plan}/apply: do it, if it would still do what was planned"""
    plan = await _plan(call)
    try:
        return await _shown(call, await apply_plan(call.api, plan, by=call.caller.actor))
    except (PlanSpent, Vetoed) as err:
        raise Refused(409, str(err)) from None


_DRIFT = (parameters.flag("read", "Read the leaf now, instead of telling what was read last."),)
_CONFIG = (parameters.flag("running", "As it was read last, instead of as it should be."),)

ROUTES = (
    Route("GET", "/admin/v1/leaves/{leaf}/drift", get_drift, right=Right.LOOK, query=_DRIFT, answer=leaf_schemas.Drift),
    Route(
        "GET",
        "/admin/v1/leaves/{leaf}/exemptions",
        list_exemptions,
        right=Right.LOOK,
        objects="exemptions",
        answer=leaf_schemas.Exemption,
    ),
    Route(
        "GET",
        "/admin/v1/leaves/{leaf}/neighbors",
        list_neighbors,
        right=Right.LOOK,
        objects="neighbors",
        answer=leaf_schemas.Neighbor,
    ),
    Route(
        "GET",
        "/admin/v1/leaves/{leaf}/config",
        get_config,
        right=Right.LOOK,
        query=_CONFIG,
        answer=leaf_schemas.LeafConfiguration,
    ),
    Route(
        "POST",
        "/admin/v1/leaves/{leaf}/bootstrap",
        make_bootstrap,
        right=Right.OPERATE,
        body=BootstrapEntry,
        documents=("text/plain",),
    ),
    Route(
        "GET",
        "/admin/v1/leaves/{leaf}/plans",
        list_plans,
        right=Right.LOOK,
        objects="plans",
        answer=leaf_schemas.LeafPlan,
    ),
    Route(
        "POST",
        "/admin/v1/leaves/{leaf}/plans",
        add_plan,
        right=Right.OPERATE,
        status=201,
        body=PlanEntry,
        answer=leaf_schemas.LeafPlan,
    ),
    Route("GET", "/admin/v1/leaf-plans/{plan}", get_plan, right=Right.LOOK, answer=leaf_schemas.LeafPlan),
    Route("POST", "/admin/v1/leaf-plans/{plan}/apply", carry_out, right=Right.OPERATE, answer=leaf_schemas.LeafPlan),
)

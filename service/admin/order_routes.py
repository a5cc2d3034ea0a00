"""Orders of all customers: where each is, what it waits for, and why it is slow."""

from __future__ import annotations

from datetime import datetime

from service.admin import order_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.parameters import Parameter, flag
from service.api.problems import Invalid, not_found, shown
from service.api.waterfall import stages_of
from service.policy import Right
from service.slowness import compare, sentences
from service.store.orders_seen import OrderSeen, orders_seen, usual_stages


def _took_s(one: OrderSeen, now: datetime) -> float | None:
    """Seconds from the order to the machine in the customer's hands, or until now."""
    if one.active_at is None and (one.deleted_at is not None or one.failure is not None):
        return None
    return round(((one.active_at or now) - one.created_at).total_seconds(), 3)


def _order(one: OrderSeen, now: datetime) -> Body:
    return {
        "id": str(one.id),
        "hostname": one.hostname,
        "state": one.state,
        "failure": one.failure,
        "organization": {"id": str(one.organization_id), "name": one.organization},
        "project": {"id": str(one.project_id), "name": one.project},
        "plan": one.plan,
        "facility": one.facility,
        "operating_system": one.operating_system,
        "machine": one.machine,
        "created_at": stamp(one.created_at),
        "active_at": None if one.active_at is None else stamp(one.active_at),
        "deleted_at": None if one.deleted_at is None else stamp(one.deleted_at),
        "deadline": stamp(one.deadline),
        "took_s": _took_s(one, now),
        "run": None
        if one.run_id is None
        else {
            "id": str(one.run_id),
            "workflow": one.workflow,
            "state": one.run_state,
            "step": one.step,
            "step_since": None if one.step_since is None else stamp(one.step_since),
            "waits_for": one.waits_for,
        },
        "href": f"/admin/v1/orders/{one.id}",
    }


async def list_orders(call: Call) -> Body:
    """GET /admin/v1/orders: those under way, or with all=true the latest thousand"""
    found = await orders_seen(
        call.db,
        ended_too=bool(call.flag("all")),
        state=call.word("state"),
        facility=call.word("facility"),
        plan=call.word("plan"),
        customer=call.word("customer"),
    )
    return {"orders": [_order(one, call.api.clock.now()) for one in found]}


async def _one(call: Call) -> OrderSeen:
    """The path's order: by id, the beginning of one, or hostname. Raises Refused."""
    found = await orders_seen(call.db, ended_too=True, name=call.ids["order"], limit=50)
    # A hostname may have been in use before: what is there now is meant.
    meant = [one for one in found if one.deleted_at is None] or found[:1]
    if not meant:
        raise not_found()
    if len(meant) > 1:
        ids = ", ".join(str(one.id)[:8] for one in meant)
        raise Invalid(f"{shown(call.ids['order'])} is not one order but {len(meant)}: {ids}")
    return meant[0]


async def get_order(call: Call) -> Body:
    """GET /admin/v1/orders/{order}: by id, short id or hostname, with the waterfall of everything done for it"""
    one = await _one(call)
    return {**_order(one, call.api.clock.now()), "runs": await stages_of(call.api, one.id)}


async def explain_order(call: Call) -> Body:
    """GET /admin/v1/orders/{order}/why: its latest course, each stage beside what it usually takes, and in sentences"""
    one = await _one(call)
    order = _order(one, call.api.clock.now())
    runs = [run for run in await stages_of(call.api, one.id) if run["workflow"] != "power"]
    if not runs:
        return {**order, "workflow": None, "stages": [], "why": ["nothing was done for it yet"]}
    run = runs[-1]
    found = compare(run["stages"], await usual_stages(call.db, run["workflow"], one.id))
    stages = [
        {
            **{name: each.stage[name] for name in ("step", "attempt", "state", "reason", "actual_s", "budget_s")},
            "median_s": None if each.usual is None else round(each.usual.median_s, 3),
            "p95_s": None if each.usual is None else round(each.usual.p95_s, 3),
            "measured": 0 if each.usual is None else each.usual.measured,
            "slow": each.slow,
        }
        for each in found
    ]
    why = sentences(found, waiting=run["state"] in ("running", "undoing"))
    if run["failure"]:
        why.insert(0, f"it failed: {run['failure']}")
    return {**order, "workflow": run["workflow"], "stages": stages, "why": why}


_OF_ORDERS = (
    flag("all", "Also those that have ended: the latest thousand."),
    Parameter("state", "In this state, as `provisioning`."),
    Parameter("facility", "At this facility, by its code."),
    Parameter("plan", "Of this plan, by its slug."),
    Parameter("customer", "Of this organization or project, by name or id."),
)

ROUTES = (
    Route(
        "GET",
        "/admin/v1/orders",
        list_orders,
        right=Right.LOOK,
        query=_OF_ORDERS,
        objects="orders",
        answer=order_schemas.Order,
    ),
    Route("GET", "/admin/v1/orders/{order}", get_order, right=Right.LOOK, answer=order_schemas.OrderWhole),
    Route("GET", "/admin/v1/orders/{order}/why", explain_order, right=Right.LOOK, answer=order_schemas.OrderExplained),
)

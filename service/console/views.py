"""What each page shows, read from the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from service.api.waterfall import WORKFLOWS, stages_of
from service.certificates import certificates_of
from service.console.address_views import address, prefix, prefix_list
from service.console.audit_views import audit
from service.console.boot_views import boot
from service.console.hook_views import hook, hook_list
from service.console.image_views import images
from service.console.leaf_views import leaf, leaf_list, plan
from service.console.look import Look, Page, View
from service.lifecycle import DeviceState, MachineState
from service.store.device_lists import DeviceFilter, devices_page
from service.store.event_lists import events_page
from service.store.orders import devices
from service.store.racks import (
    MachineSeen,
    RunSeen,
    leaves_seen,
    machines_seen,
    runs_seen,
    tallies_seen,
)

_DEVICES_A_PAGE = 50
_EVENTS = 12


@dataclass(frozen=True, slots=True)
class Course:
    """A run under way, as a row of segments."""

    run: RunSeen
    steps: tuple[str, ...]
    place: int  # of the present step among them
    elapsed_s: float
    allowed_s: float


def _course(run: RunSeen, look: Look) -> Course:
    workflow = WORKFLOWS.get(run.workflow)
    steps = tuple(step.name for step in workflow.steps) if workflow is not None else (run.step,)
    place = steps.index(run.step) if run.step in steps else 0
    elapsed = (look.api.clock.now() - run.created_at).total_seconds()
    return Course(run, steps, place, elapsed, (run.deadline - run.created_at).total_seconds())


async def _courses(look: Look) -> list[Course]:
    return [_course(run, look) for run in await runs_seen(look.api.db, limit=200)]


def _racks(machines: Sequence[MachineSeen]) -> list[tuple[str, list[tuple[str, list[MachineSeen]]]]]:
    """Machines by facility, and there by the leaf that they hang on."""
    return [
        (facility, [(leaf, list(group)) for leaf, group in groupby(inside, key=lambda one: one.leaf)])
        for facility, inside in groupby(machines, key=lambda one: one.facility)
    ]


async def overview(look: Look) -> Page:
    """The whole house at a glance."""
    db = look.api.db
    machines = await machines_seen(db)
    courses = await _courses(look)
    _, events = await events_page(db, look.staff, _EVENTS, 0)
    return {
        "tallies": await tallies_seen(db),
        "racks": _racks(machines),
        "states": Counter(one.state for one in machines),
        "leaves": {leaf.name: leaf for leaf in await leaves_seen(db)},
        "orders": [one for one in courses if one.run.device_id is not None],
        "upkeep": [one for one in courses if one.run.device_id is None],
        "events": events,
    }


async def device_list(look: Look) -> Page:
    """Devices of all customers."""
    query = look.request.query
    state, search = query.get("state") or None, (query.get("search") or "").replace("\0", "").strip() or None
    number = query.get("page", "1")
    page = int(number) if number.isdecimal() and 0 < int(number) < 10**6 else 1
    wanted = DeviceFilter(states=[state] if state else None, search=search)
    offset = (page - 1) * _DEVICES_A_PAGE
    total, ids = await devices_page(look.api.db, look.staff, wanted, _DEVICES_A_PAGE, offset)
    return {
        "devices": await devices(look.api.db, look.staff, ids),
        "offers": await look.api.offers(),
        "total": total,
        "number": page,
        "pages": max(1, -(-total // _DEVICES_A_PAGE)),
        "state": state,
        "search": search,
        "states": [one for one in DeviceState if one is not DeviceState.DELETED],
    }


async def device(look: Look) -> Page | None:
    """One device, with the waterfall of everything that was done for it."""
    try:
        id_ = UUID(look.request.match_info["device"])
    except ValueError:
        return None
    found = await devices(look.api.db, look.staff, [id_])
    if not found:
        return None
    _, events = await events_page(look.api.db, look.staff, 100, 0, device_id=found[0].order.id)
    offers = await look.api.offers()
    return {
        "device": found[0],
        "plan": next(one for one in offers.plans if one.id == found[0].order.plan_id),
        "place": next(one for one in offers.facilities if one.id == found[0].order.facility_id),
        "runs": _with_length(await stages_of(look.api, found[0].order.id)),
        "events": events,
    }


def _with_length(runs: Sequence[Page]) -> list[Page]:
    """Latest first, each with the length of its time line in seconds."""
    return [
        {
            **run,
            "length_s": max(
                (stage["offset_s"] + stage["actual_s"] for stage in run["stages"] if stage["offset_s"] is not None),
                default=0.0,
            ),
        }
        for run in reversed(runs)
    ]


async def machine_list(look: Look) -> Page:
    """All machines."""
    state = look.request.query.get("state") or None
    every = await machines_seen(look.api.db)
    counts = Counter(one.state for one in every)
    return {
        "machines": [one for one in every if state in (None, one.state)],
        "state": state,
        "counts": [(one, counts[one]) for one in MachineState if counts[one]],
        "total": len(every),
    }


async def machine(look: Look) -> Page | None:
    """One machine, with what was done to it and how it was last erased."""
    found = await machines_seen(look.api.db, name=look.request.match_info["machine"].replace("\0", ""))
    if not found:
        return None
    certificates = await certificates_of(look.api.db, look.api.key, found[0].id, most=1)
    return {
        "machine": found[0],
        "runs": _with_length(await stages_of(look.api, found[0].id)),
        "certificate": certificates[0] if certificates else None,
    }


VIEWS: Mapping[str, tuple[str, View]] = {
    "/": ("overview.html", overview),
    "/devices": ("devices.html", device_list),
    "/devices/{device}": ("device.html", device),
    "/machines": ("machines.html", machine_list),
    "/machines/{machine}": ("machine.html", machine),
    "/leaves": ("leaves.html", leaf_list),
    "/leaves/{leaf}": ("leaf.html", leaf),
    "/leaves/{leaf}/plans/{plan}": ("plan.html", plan),
    "/boot": ("boot.html", boot),
    "/hooks": ("hooks.html", hook_list),
    "/hooks/{hook}": ("hook.html", hook),
    "/images": ("images.html", images),
    "/prefixes": ("prefixes.html", prefix_list),
    "/prefixes/{prefix}": ("prefix.html", prefix),
    "/audit": ("audit.html", audit),
    "/addresses": ("address.html", address),
}

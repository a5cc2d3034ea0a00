"""The pages of the leaves: how each is, who is plugged in where, where it has drifted, and what was planned for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from netconf.owned import rendered_objects
from service.admin.leaf_objects import verdict
from service.console.look import Look, Page
from service.leaves.cabling import Finding, Plug, findings
from service.leaves.desired import desired_leaf
from service.leaves.drifted import Drifted, drift_on, lapsed, object_name
from service.leaves.plans import PLAN_LIFE, progress_of
from service.store.leaf_plans import names_of, plan_by_id, plans_of
from service.store.leaves import Accepted, LeafRow, exemptions_of, leaf_row
from service.store.racks import LeafSeen, leaves_seen
from service.store.rows import Connection
from sql.loader import Q

_PLANS = 20
_drifts: dict[UUID, tuple[object, Drifted | None]] = {}  # by leaf: what it was compared from, and what was found


async def leaf_list(look: Look) -> Page:
    """All leaves with their ports."""
    found = await leaves_seen(look.api.db)
    return {"leaves": found, "states": sorted(Counter(one.state for one in found).items())}


async def leaf(look: Look) -> Page | None:
    """One leaf."""
    found = await leaves_seen(look.api.db, look.request.match_info["leaf"].replace("\0", ""))
    if not found:
        return None
    one = found[0]
    async with look.api.db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        row = await leaf_row(conn, str(one.id))
        assert row is not None
        accepted = await exemptions_of(conn, one.id, look.api.key)
        drifted = await _drift(conn, row, one, accepted, look)
        names = await names_of(conn, [given.accepted_by for given in accepted])
        ours = {}
        if accepted:
            ours = rendered_objects((await desired_leaf(conn, row.id, row.name, look.api))[0])
        plans = await plans_of(conn, one.id, _PLANS)
        progress = await progress_of(conn, plans, look.api.clock.now())
        plugs = {plug.port_id: plug for plug in [Plug(**row) for row in await conn.fetch(Q["cabling"], one.id)]}
    wrong = {finding.at.port_id: finding for finding in findings(list(plugs.values()))}
    return {
        "leaf": one,
        "drift": "" if drifted is None else drifted.text,
        "accepted": [
            (object_name(given.object), given, names[given.accepted_by], lapsed(given, ours)) for given in accepted
        ],
        "plans": list(zip(plans, progress, strict=True)),
        "verdicts": {port.id: verdict(plugs[port.id], wrong.get(port.id)) for port in one.port_list},
        "wrong": wrong,
        "cables": _told(wrong[port.id] for port in one.port_list if port.id in wrong),
    }


async def _drift(
    conn: Connection, row: LeafRow, seen: LeafSeen, accepted: Sequence[Accepted], look: Look
) -> Drifted | None:
    """The leaf's drift, compared anew when something has changed: the page is asked for each second."""
    if not row.drifted:
        return None
    ports = tuple((port.name, port.generation, port.applied) for port in seen.port_list)
    moment = (row.running_at, row.generation, ports, tuple((one.object, one.accepted_at) for one in accepted))
    known = _drifts.get(row.id)
    if known is None or known[0] != moment:
        known = _drifts[row.id] = moment, await drift_on(conn, row, look.api)
    return known[1]


def _told(wrong: Iterable[Finding]) -> list[str]:
    """What is wrong with cables, a swap once."""
    found: dict[frozenset[UUID], str] = {}
    for one in wrong:
        both = {one.at.port_id} | ({one.seen.port_id} if one.seen is not None and one.swapped else set())
        found.setdefault(frozenset(both), one.sentence)
    return list(found.values())


async def plan(look: Look) -> Page | None:
    """One plan: what it would change, and whom it touches."""
    try:
        found = await plan_by_id(look.api.db, UUID(look.request.match_info["plan"]))
    except ValueError:
        return None
    if found is None or found.leaf != look.request.match_info["leaf"]:
        return None
    (progress,) = await progress_of(look.api.db, [found], look.api.clock.now())
    return {"plan": found, "progress": progress, "expires_at": found.planned_at + PLAN_LIFE}

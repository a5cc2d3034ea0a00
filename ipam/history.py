"""The ledger looked at through two times: when something was so, and when we knew of it. Corrections are additions.

A correction puts a row right and keeps what it said before; what was answered then can still be asked for by `as_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ipam.errors import BadCorrection, NoTenure
from ipam.ledger import Tenure, spans_of, tenure_of
from ipam.space import Network
from sql.loader import Q

_KNOWN = ("recorded_at", "closed_at", "corrected_at", "corrected_by", "correction")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger with when it was written and ended, and when, by whom and why it was found to be wrong."""

    tenure: Tenure
    recorded_at: datetime
    closed_at: datetime | None
    corrected_at: datetime | None
    corrected_by: str | None
    correction: str | None


async def history(conn: Any, block: Network, *, vrf_ids: Sequence[int]) -> list[Entry]:
    """All that the ledger ever said of a block, what it lies in and its parts, oldest first."""
    planes = [vrf_id * 2 + routed for vrf_id in vrf_ids for routed in (0, 1)]
    rows = list(await conn.fetch(Q["history4" if block.version == 4 else "history6"], planes, block))
    rows += await conn.fetch(Q["history_beside"], list(vrf_ids), *spans_of(block))
    entries = [_entry(row) for row in rows]
    return sorted(entries, key=lambda entry: (entry.tenure.since, entry.tenure.kind != "held", entry.recorded_at))


def _entry(row: Any) -> Entry:
    known = {name: row[name] for name in _KNOWN}
    return Entry(tenure_of({name: value for name, value in row.items() if name not in _KNOWN}), **known)


def known_at(entries: Sequence[Entry], at: datetime, as_of: datetime) -> list[Tenure]:
    """What one would have been told at `as_of` of who holds the block at `at`. Pure."""
    found = []
    for entry in entries:
        tenure = entry.tenure
        if entry.recorded_at > as_of or (entry.corrected_at is not None and entry.corrected_at <= as_of):
            continue
        if entry.closed_at is not None and entry.closed_at > as_of:
            # Its end was not known then.
            tenure = replace(tenure, until=None, closed_by=None)
        if tenure.since <= at and (tenure.until is None or at < tenure.until):
            found.append(tenure)
    return found


async def correct(
    conn: Any,
    tenure_id: UUID,
    why: str,
    *,
    by: str,
    since: datetime | None = None,
    until: datetime | None = None,
    project_id: UUID | None = None,
    note: Mapping[str, Any] | None = None,
) -> Tenure:
    """Write down that a tenure was other than the ledger says; what is None stays as it was. In a transaction.

    `note` is laid over the note that there is. A tenure that lasts can be given another beginning, but not an end:
    that is giving it back. The tenure keeps its id. Raises NoTenure or BadCorrection; nothing is changed then.
    """
    if not why.strip():
        raise BadCorrection("a correction says why it is made")
    row = await conn.fetchrow(Q["tenure_to_correct"], tenure_id)
    if row is None:
        raise NoTenure(f"there is no tenure {tenure_id}")
    wrong = tenure_of(row)
    if until is not None and wrong.until is None:
        raise BadCorrection(f"{wrong.block} is still held; give it back instead of correcting its end")
    begin, end = since or wrong.since, until or wrong.until
    if end is not None and end <= begin:
        raise BadCorrection(f"{wrong.block} would end at {end.isoformat()}, before it began at {begin.isoformat()}")
    prefixes = [] if end == wrong.until else await conn.fetch(Q["lock_prefixes_touching"], wrong.vrf_id, wrong.block)
    project = wrong.project_id if project_id is None else project_id
    try:
        async with conn.transaction():
            await conn.execute(Q["keep_wrong_tenure"], tenure_id, by, why)
            right = await conn.fetchrow(
                Q["put_tenure_right"], tenure_id, project, {**wrong.note, **(note or {})}, begin, end
            )
            if wrong.kind == "held":
                # What came back later than we knew rests from then on.
                for prefix in prefixes:
                    await conn.execute(Q["rest_from"], prefix["id"], wrong.block, end)
    except asyncpg.ExclusionViolationError:
        raise BadCorrection(f"{wrong.block} was held by another in that time; correct that first") from None
    return tenure_of(right)

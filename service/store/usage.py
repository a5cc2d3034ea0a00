"""What was in use, read from the rows of devices, the address ledger and reservations: there is no counter to lose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from service.metering import Price, Use, switched
from service.store.rows import Connection
from sql.loader import Q

Prices = dict[Hashable, list[Price]]


def _by(rows: Iterable[Any], *columns: str) -> Prices:
    found: Prices = defaultdict(list)
    for row in rows:
        key = row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)
        found[key].append(Price(row["since"], row["hourly"]))
    return found


def _whose(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "project_id", "organization_id", "project", "since", "until")}


async def uses(
    db: Connection,
    after: datetime | None,
    before: datetime,
    *,
    device_id: UUID | None = None,
    project_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> list[Use]:
    """What was in use between two moments, of a device, a project, an organization or all of them.

    A device counts from its activation until it is deleted or fails. One on reserved hardware costs nothing, for its
    reservation does; a spot instance costs the market's price of the time.
    """
    plans = _by(await db.fetch(Q["plan_prices"]), "plan_id")
    found = await _devices(db, plans, after, before, device_id, project_id, organization_id)
    if device_id is not None:
        return found
    addresses = _by(await db.fetch(Q["address_prices"]), "type")
    for row in await db.fetch(Q["addresses_used"], project_id, organization_id, after, before):
        block = row["block"]
        quantity = block.num_addresses if block.version == 4 else 1
        found.append(
            Use(
                **_whose(row),
                type="IP address",
                name=str(block),
                plan=row["type"],
                facility=row["facility"],
                quantity=quantity,
                prices=addresses[row["type"]],
            )
        )
    for row in await db.fetch(Q["reservations_used"], project_id, organization_id, after, before):
        rate = row["custom_rate"]
        found.append(
            Use(
                **_whose(row),
                type="Hardware reservation",
                name=row["machine"],
                plan=row["plan"],
                facility=row["facility"],
                quantity=1,
                prices=plans[row["plan_id"]] if rate is None else [Price(row["since"], rate)],
            )
        )
    return found


async def _devices(
    db: Connection,
    plans: Prices,
    after: datetime | None,
    before: datetime,
    device_id: UUID | None,
    project_id: UUID | None,
    organization_id: UUID | None,
) -> list[Use]:
    rows = await db.fetch(Q["devices_used"], device_id, project_id, organization_id, after, before)
    spot: Prices = {}
    if any(row["spot"] for row in rows):
        spot = _by(await db.fetch(Q["spot_prices_paid"], before), "facility_id", "plan_id")
    found = []
    for row in rows:
        prices = plans[row["plan_id"]]
        if row["spot"]:
            prices = switched(spot[row["facility_id"], row["plan_id"]], prices, row["left_spot_at"])
        found.append(
            Use(
                **_whose(row),
                type="Instance",
                name=row["hostname"],
                plan=row["plan"],
                facility=row["facility"],
                quantity=1,
                prices=[] if row["reserved"] else prices,
            )
        )
    return found

"""The spot market's rows: prices by the use of the pool, and what they were."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

_LEAST = Decimal("0.1")  # of the plan's price, while nobody pays that


def spot_price(plan_price: Decimal, machines: int, taken: int) -> Decimal:
    """What a spot machine costs an hour where `taken` of `machines` are ordered at the plan's own price.

    A tenth of the plan's price while none is; it rises with the square of the share that is taken, and is the whole
    when all are. Reserved machines do not count, nor do spot instances: these do not drive their own price.
    """
    share = min(Decimal(taken) / machines, Decimal(1)) if machines else Decimal(1)
    return (plan_price * (_LEAST + (1 - _LEAST) * share * share)).quantize(Decimal("0.0001"))


async def spot_prices(db: Connection) -> dict[tuple[UUID, UUID], Decimal]:
    """The price an hour now, by facility and plan, where there are machines."""
    rows = await db.fetch(Q["spot_pools"])
    return {
        (row["facility_id"], row["plan_id"]): spot_price(row["price_hourly"], row["machines"], row["devices"])
        for row in rows
    }


async def record_price(conn: Connection, facility_id: UUID, plan_id: UUID, price: Decimal, *, now: datetime) -> None:
    """Write the price down where it is another than the last."""
    await conn.execute(Q["record_spot_price"], facility_id, plan_id, price, now)

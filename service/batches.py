"""Orders that came together: each device is placed in a transaction of its own, and a crash leaves the rest to do."""

from __future__ import annotations

from uuid import UUID

import structlog

from images.catalogue import Catalogue
from ipam.errors import IpamError
from service.api.drafts import draft_of
from service.api.models import CreateDevice, read
from service.api.ordering import Ground, place_order
from service.api.problems import Refused
from service.store.offers import Offers, read_offers
from service.store.rows import AWAY, Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

_SORRY = "it could not be ordered for a reason that lies with us; the provider's log has it"


async def place_waiting(db: Pool, ground: Ground) -> bool:
    """Order what the batches still wait for; False when nothing was waiting."""
    rows = await db.fetch(Q["batch_devices_waiting"])
    for row in rows:
        await _place_one(db, ground, row["batch_id"], row["place"])
    return bool(rows)


async def _place_one(db: Pool, ground: Ground, batch_id: UUID, place: int) -> None:
    """Order one device, and write down that it was, or why not; both in one transaction."""
    try:
        async with db.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(Q["lock_batch_device"], batch_id, place)
            if row is None:
                return  # another worker has it, or the batch was taken back
            if row["project_deleted_at"] is not None:
                raise Refused(404, "the project was deleted")
            wish = row["wish"] | {"hostname": row["hostname"]}
            if row["facilities"]:
                wish["facility"] = row["facilities"]
            project = {"id": row["project_id"], "organization_id": row["organization_id"]}
            draft = draft_of(read(CreateDevice, wish), await _offers(conn, ground.catalogue), ground.catalogue)
            await place_order(conn, ground, project, draft, row["device_id"], created_by=row["created_by"])
            await conn.execute(Q["batch_device_done"], batch_id, place, "ordered", None, ground.clock.now())
    except (Refused, IpamError) as err:
        why = "; ".join(err.errors) if isinstance(err, Refused) else str(err)
        await _refuse(db, ground, batch_id, place, why)
        log.info("batch_device_refused", batch_id=str(batch_id), place=place, reason=why)
    except AWAY:
        raise  # nothing of it is left, and it is tried again
    except Exception:
        # What is wrong with one must not keep the others waiting for ever.
        log.exception("batch_device_error", batch_id=str(batch_id), place=place)
        await _refuse(db, ground, batch_id, place, _SORRY)


async def _refuse(db: Pool, ground: Ground, batch_id: UUID, place: int, why: str) -> None:
    async with db.acquire() as conn, conn.transaction():
        # Whoever else had it in the meantime has ended it, and it is no longer waiting.
        if await conn.fetchrow(Q["lock_batch_device"], batch_id, place) is not None:
            await conn.execute(Q["batch_device_done"], batch_id, place, "refused", why, ground.clock.now())


async def _offers(conn: Connection, catalogue: Catalogue) -> Offers:
    return await read_offers(conn, [entry.slug for entry in catalogue])

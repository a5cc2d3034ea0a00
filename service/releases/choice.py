"""Which release of its system's image an order gets."""

from __future__ import annotations

import hashlib
from uuid import UUID

from service.artefacts import Artefacts, NotBuilt
from service.store.course import Device
from service.store.releases import rollout_under_way
from service.store.rows import Connection
from sql.loader import Q

_BUCKETS = 100


def bucket(device_id: UUID) -> int:
    """The order's place among a hundred; the same for as long as the order lives."""
    return int.from_bytes(hashlib.sha256(device_id.bytes).digest()[:8], "big") % _BUCKETS


async def choose_release(conn: Connection, images: Artefacts, device: Device, *, avoid: str | None) -> str | None:
    """The release for the device, written in its row; None where its system has no image.

    It keeps the one that it has got before, but for `avoid`, on which it has failed. Of orders that a rollout
    concerns, those get the new release whose bucket is below the rollout's percentage.
    """
    kept = device.image_release
    if kept is not None and kept != avoid and images.has_image(device.operating_system, kept):
        return kept
    rollout = await rollout_under_way(conn, device.operating_system)
    if (
        rollout is not None
        and rollout.concerns(device.plan)
        and bucket(device.id) < rollout.percent
        and rollout.release != avoid
        and images.has_image(rollout.slug, rollout.release)
    ):
        chosen: str | None = rollout.release
    elif rollout is not None and images.has_image(rollout.slug, rollout.baseline):
        chosen = rollout.baseline
    else:
        try:
            chosen = images.current_image(device.operating_system)
        except NotBuilt:
            chosen = None
    await conn.execute(Q["set_image_release"], device.id, chosen)
    return chosen

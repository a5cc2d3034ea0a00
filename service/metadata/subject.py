"""What the metadata of the device on a machine is made of, read from the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from images.catalogue import Catalogue
from ipam.ledger import held_by
from service.bgp import neighbors
from service.metadata.document import Subject
from service.secrets import KeyRing
from service.store.elastic import assignments_of
from service.store.rows import Pool
from sql.loader import Q


async def subject_on(db: Pool, catalogue: Catalogue, key: KeyRing, machine_id: UUID, base_url: str) -> Subject | None:
    """The device on the machine; None without one. `base_url` is where the machine reaches its metadata."""
    row = await db.fetchrow(Q["metadata_subject"], machine_id)
    if row is None:
        return None
    told: dict[str, Any] = dict(row)
    entry = catalogue.get(told["operating_system"])
    told["operating_system"] = {"slug": entry.slug, "distro": entry.distro, "version": entry.version}
    device_id = UUID(told["id"])
    links = [link for link in await held_by(db, device_id) if link.kind == "held"]
    return Subject(
        **told,
        links=links,
        elastic=(await assignments_of(db, [device_id]))[device_id],
        bgp_neighbors=await neighbors(db, device_id, links, key=key),
        base_url=base_url,
    )

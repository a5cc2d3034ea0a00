"""What is on offer: facilities, plans and operating systems, by any name that a request may use for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Facility:
    """A data centre in its metro."""

    id: UUID
    code: str
    name: str
    metro_id: UUID
    metro_code: str
    metro_name: str
    country: str
    ip_ranges: list[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A kind of machine. `facility_ids` are where there are any."""

    id: UUID
    slug: str
    aliases: list[str]
    name: str
    description: str
    specs: dict[str, Any]
    price_hourly: Decimal
    facility_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Offers:
    """All that is on offer at one moment."""

    facilities: tuple[Facility, ...]
    plans: tuple[Plan, ...]
    system_ids: dict[str, UUID]  # slug → id
    withdrawn_ids: dict[str, UUID]  # of systems that the catalogue no longer has, but devices may

    def facility(self, name: str) -> Facility | None:
        """The facility with that code or id."""
        return next((one for one in self.facilities if name in (one.code, str(one.id))), None)

    def in_metro(self, name: str) -> list[Facility]:
        """The facilities of the metro with that code or id."""
        return [one for one in self.facilities if name in (one.metro_code, str(one.metro_id))]

    def plan(self, name: str) -> Plan | None:
        """The plan with that slug, old slug or id."""
        return next((one for one in self.plans if name in (one.slug, *one.aliases, str(one.id))), None)

    def system(self, name: str) -> str | None:
        """The slug of the operating system with that slug or id."""
        if name in self.system_ids:
            return name
        return next((slug for slug, id_ in self.system_ids.items() if str(id_) == name), None)


async def read_offers(db: Connection, slugs: Iterable[str]) -> Offers:
    """What is on offer now; `slugs` are the catalogue's operating systems, in its order."""
    ids = {row["slug"]: row["id"] for row in await db.fetch(Q["offered_operating_systems"])}
    return Offers(
        facilities=tuple(Facility(**row) for row in await db.fetch(Q["offered_facilities"])),
        plans=tuple(Plan(**row) for row in await db.fetch(Q["offered_plans"])),
        system_ids={slug: ids.pop(slug) for slug in slugs if slug in ids},
        withdrawn_ids=ids,
    )


async def free_capacity(db: Connection) -> dict[tuple[UUID, UUID], int]:
    """Machines that could be had now, by facility and plan: those that are ready less the devices that wait for one.

    Machines that are still being prepared do not count.
    """
    rows = await db.fetch(Q["free_capacity"])
    return {(row["facility_id"], row["plan_id"]): row["machines"] for row in rows}

"""What the objects of one answer share, rendered once for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from images.catalogue import Catalogue
from service.api.links import Links
from service.api.objects import Object, entry_of, facility, operating_system, plan
from service.store.offers import Offers


@dataclass(frozen=True, slots=True)
class Scenery:
    """What the devices of one answer share: each plan, place and system is rendered once for all of them."""

    offers: Offers
    links: Links
    catalogue: Catalogue
    consoles: str = ""  # the name under which serial consoles are reached, {facility} in it; empty: none are served
    facilities: dict[UUID, Object] = field(default_factory=dict)
    plans: dict[UUID, Object] = field(default_factory=dict)
    systems: dict[str, Object] = field(default_factory=dict)

    def console_host(self, facility: str) -> str | None:
        """Where the consoles of a facility are; None where none are served."""
        return self.consoles.replace("{facility}", facility) or None

    def facility(self, id_: UUID) -> Object:
        """The facility's object."""
        if id_ not in self.facilities:
            place = next(one for one in self.offers.facilities if one.id == id_)
            self.facilities[id_] = facility(place, self.links)
        return self.facilities[id_]

    def plan(self, id_: UUID) -> Object:
        """The plan's object."""
        if id_ not in self.plans:
            self.plans[id_] = plan(next(one for one in self.offers.plans if one.id == id_), self.offers, self.links)
        return self.plans[id_]

    def system(self, slug: str) -> Object:
        """The operating system's object."""
        if slug not in self.systems:
            self.systems[slug] = operating_system(entry_of(slug, self.catalogue), self.offers, self.links)
        return self.systems[slug]

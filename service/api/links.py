"""Where things are: hrefs carry the prefix that the request came in by, and some ids are derived from others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

PREFIX = "/metal/v1"

# A port and a management reservation have no row of their own: their ids are the device's or the tenure's with some
# bits turned. Turning them again leads back. The version's and the variant's bits stay: clients insist on version 4.
_BOND0 = 0xB07D0000_0000_0000_0000_000000000001
_ETH0 = 0xE7400000_0000_0000_0000_000000000002
_RESERVATION = 0x4E5E0000_0000_0000_0000_000000000003

_HREF = re.compile(r"^(?:/metal/v1)*/(?P<kind>[a-z/-]+)/(?P<id>[0-9a-f-]{36})$")


@dataclass(frozen=True, slots=True)
class Links:
    """Makes hrefs for one request."""

    prefix: str  # "" or "/metal/v1"

    def href(self, kind: str, id_: UUID | str) -> str:
        """Where one thing is: `kind` as in its path, "ssh-keys"."""
        return f"{self.prefix}/{kind}/{id_}"

    def to(self, kind: str, id_: UUID | str) -> dict[str, str]:
        """A reference."""
        return {"href": self.href(kind, id_)}


def target(href: str) -> tuple[str, UUID] | None:
    """The kind and id that an href of ours leads to."""
    if (match := _HREF.match(href)) is None:
        return None
    return match["kind"], UUID(match["id"])


def bond0_of(device_id: UUID) -> UUID:
    """The id of a device's bond; of a bond, its device's."""
    return UUID(int=device_id.int ^ _BOND0)


def eth0_of(device_id: UUID) -> UUID:
    """The id of a device's first network port; of a port, its device's."""
    return UUID(int=device_id.int ^ _ETH0)


def reservation_of(tenure_id: UUID) -> UUID:
    """The id of the management reservation that an assignment comes from; of a reservation, its assignment's."""
    return UUID(int=tenure_id.int ^ _RESERVATION)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(id_: UUID) -> str:
    """The short form of an id: its first eight digits."""
    return str(id_)[:8]

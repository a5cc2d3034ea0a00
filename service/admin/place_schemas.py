"""What answers about what operators keep look like: facilities, plans, racks, ports, and tables of racks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from netconf.desired import Profile
from service import racks_csv
from service.admin.racks_plan import Act
from service.api.offer_schemas import PlanSpecs
from service.api.schemas import Answer, Compared
from service.lifecycle import DeviceState


class FacilityKept(Answer):
    """A data centre, and how much of what is there."""

    id: UUID
    code: str
    name: str
    metro: str
    metro_name: str
    country: str
    racks: int
    leaves: int
    machines: int
    ready: int
    quarantined: int
    devices: int
    href: str


class KeptSpecs(PlanSpecs):
    """What a machine of the plan is made of."""

    arch: Literal["amd64", "arm64"] = Field("amd64", description="amd64 where nothing is said.")


class PlanKept(Answer):
    """A kind of machine, and how many there are."""

    id: UUID
    slug: str
    aliases: list[str] = Field(description="Older slugs that are taken for it.")
    name: str
    description: str
    specs: KeptSpecs
    price_hourly: float
    created_at: datetime
    machines: int
    ready: int
    devices: int
    projects: int = Field(description="That have such devices.")
    href: str


class FacilityChange(FacilityKept, Compared):
    """A data centre as it is after the change, and what differs."""


class PlanChange(PlanKept, Compared):
    """A kind of machine as it is after the change, and what differs."""


class InRack(Answer):
    """What stands in a rack. Of a leaf plan and device are null."""

    unit: int | None = Field(description="The lowest one, counted from the floor.")
    kind: Literal["machine", "leaf"]
    name: str
    state: str
    plan: str | None
    device: str | None


class Rack(Answer):
    """A rack with what stands in it, the highest first."""

    id: UUID
    name: str
    facility: str
    units: int
    created_at: datetime
    machines: int
    ready: int
    leaves: int
    contents: list[InRack]


class Port(Answer):
    """A port of a leaf with what hangs there."""

    leaf: str
    facility: str
    name: str
    profile: Profile
    generation: int = Field(description="What it should be.")
    applied: int = Field(description="What the leaf was seen to have taken.")
    pending: bool
    fault: str | None
    changed_at: datetime
    take_over: bool
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None
    booted_mac: str | None
    booted_at: datetime | None
    machine: str | None
    machine_mac: str | None
    machine_state: str | None
    device: str | None
    device_id: UUID | None
    device_state: DeviceState | None


class BeforeAndAfter(Answer):
    """A field of a line; of a secret only that it changes."""

    before: Any
    after: Any


class LineOutcome(Answer):
    """What a line of the table comes to."""

    line: int
    kind: racks_csv.Kind
    name: str
    act: Act
    fields: dict[str, BeforeAndAfter]


class LinesCounted(Answer):
    """How many lines come to what."""

    make: int
    change: int
    leave: int


class TableOutcome(Answer):
    """What a table of racks has changed, or with `dry_run` would change."""

    dry_run: bool
    counts: LinesCounted
    changes: list[LineOutcome]

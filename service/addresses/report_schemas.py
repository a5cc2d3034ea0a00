"""What the address manager's reports and imports look like."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ipam.exchange.diff import Action
from ipam.forecast import State
from ipam.reports import OwnerKind
from service.api.schemas import Answer

Group = Literal["node", "role", "facility", "owner"]


class ReportOwner(Answer):
    """Whose a node is: the provider's, an organization's or a project's."""

    kind: OwnerKind
    id: UUID | None
    name: str | None


class ReportRow(Answer):
    """What a row is of, by the report's group; of a node it is all but the project's. Counts are in units: addresses,
    or networks of one mask length."""

    prefix: str = ""
    id: int = 0
    vrf: str = ""
    role: str = ""
    facility: str | None = None
    standing: str = ""
    owner: ReportOwner | SkipJsonSchema[None] = None
    family: Literal[4, 6]


class UtilizationRow(ReportRow):
    """How full something is. `total` is `held` and `free` together; all others are parts of one of these."""

    unit: str = Field(description="`address`, or a mask length as `/64`.")
    total: int
    held: int
    routed: int = Field(description="Of what is held: led to devices out of elastic blocks.")
    reserved: int = Field(description="Of what is held: never handed out.")
    free: int
    cooling: int = Field(description="Of what is free: came back too short a time ago.")
    tagged: int = Field(description="Of what is free: for abuse.")
    unassigned: int = Field(description="Of what is free: in no prefix that hands out.")
    utilization: float


class ProjectHolding(Answer):
    """What a project holds, in units."""

    project: UUID
    name: str
    organization: str
    family: Literal[4, 6]
    unit: str = Field(description="`address`, or a mask length as `/64`.")
    held: int
    routed: int


class Utilization(Answer):
    """How full each node, role, facility or owner is, or what each project holds."""

    group: Literal[Group, "project"]
    utilization: list[UtilizationRow | ProjectHolding]


class ForecastRow(ReportRow):
    """When nothing will be left of something. Dates are there while it grows."""

    unit: str = Field(description="`address`, or a mask length as `/64`.")
    total: int
    held: int
    left: int = Field(description="What is free and not tagged for abuse.")
    state: State
    days: int = Field(description="Of the ledger, from which it is told.")
    per_day: float | None
    per_day_low: float | None
    per_day_high: float | None
    exhausted_at: datetime | None
    earliest: datetime | None
    latest: datetime | None = Field(description="null where it may last for ever.")
    confidence: float
    method: str


class ForecastReport(Answer):
    """When nothing will be left."""

    group: Group
    method: str
    confidence: float = Field(description="That the day lies between `earliest` and `latest`.")
    forecast: list[ForecastRow]


class FragmentationRow(ReportRow):
    """How broken up what is free is."""

    free_addresses: int
    largest_free: str | None = Field(description="Its mask length, as `/24`.")
    free_blocks: int
    fragmentation: float | None
    blocks: dict[str, int] = Field(description="How many free blocks there are, by mask length.")


class FragmentationReport(Answer):
    """The free blocks by mask length, and how broken up they are."""

    group: Group
    definition: str
    fragmentation: list[FragmentationRow]


class ImportChange(Answer):
    """What becomes of one row of the file."""

    action: Action
    kind: str
    name: str
    where: str
    reason: str | None = Field(description="Why it cannot be.")
    row: dict[str, Any] = Field(default_factory=dict, description="What is added.")
    before: dict[str, Any] = Field(default_factory=dict, description="The fields that change, as they were.")
    after: dict[str, Any] = Field(default_factory=dict, description="The fields that change, as they are to be.")


class LeftOutExample(Answer):
    """One of what is not carried over."""

    where: str
    value: Any


class LeftOut(Answer):
    """What is not carried over for one reason."""

    section: str
    field: str
    why: str
    count: int
    examples: list[LeftOutExample]


class RowsCounted(Answer):
    """How many rows become what."""

    add: int
    change: int
    same: int
    conflict: int


class ImportOutcome(Answer):
    """What a file does, or would do."""

    applied: bool
    counts: RowsCounted
    changes: list[ImportChange]
    left_out: list[LeftOut]

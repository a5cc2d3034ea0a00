"""What the address manager's answers look like, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, RootModel

from ipam.permissions import GranteeKind, Right
from service.api.schemas import Answer, Compared

Status = Literal["active", "draining", "frozen", "retired"]


class Vrf(Answer):
    """A routing table of its own."""

    id: int
    name: str


class Prefix(Answer):
    """A node of the prefix tree with its use, in blocks of `block_length`."""

    id: int
    prefix: str
    vrf: str
    parent: int | None
    role: str
    facility: str | None
    block_length: int
    description: str
    status: Status
    standing: Status = Field(description="The strictest status of it and of what it lies in.")
    organization: UUID | None
    project: UUID | None
    tenures: int
    blocks: int
    taken: int
    utilization: float
    href: str


class PrefixChange(Prefix, Compared):
    """A prefix as it is after the change, and what differs."""


class PrefixAfter(RootModel[PrefixChange | Prefix]):
    """A prefix as it is after the change; with `dry_run` what would differ, too."""


class Named(Answer):
    """Something with an id and a name."""

    id: UUID
    name: str | None


class TenureDevice(Answer):
    """The device that holds a block."""

    id: UUID
    hostname: str


class Tenure(Answer):
    """Who has, or had, a block, and from when until when. `kind`: held by its owner, routed to a device, or anycast."""

    id: UUID
    block: str
    kind: Literal["held", "routed", "anycast"]
    slot: str
    prefix: int
    owner: UUID
    project: Named | None
    device: TenureDevice | None
    machine: str | None
    leaf: str | None
    port: str | None
    mac: str | None
    note: dict[str, Any]
    from_: datetime = Field(alias="from")
    until: datetime | None
    opened_by: str
    closed_by: str | None
    within: str | None


class TenureInVrf(Tenure):
    """Who has, or had, a block of a VRF."""

    vrf: str


class RecordedTenure(Tenure):
    """A tenure as the ledger says, or said before it was corrected."""

    recorded_at: datetime
    closed_at: datetime | None
    corrected_at: datetime | None
    corrected_by: str | None
    correction: str | None


class AbuseTag(Answer):
    """Why a block is handed out to nobody."""

    id: UUID
    vrf: str
    block: str
    tag: str
    reason: str
    set_by: str
    set_at: datetime
    cleared_by: str | None
    cleared_at: datetime | None


class Holders(Answer):
    """Who has an address at a time."""

    address: str
    at: datetime
    as_of: datetime | None
    tenures: list[TenureInVrf]
    abuse_tags: list[AbuseTag]


class History(Answer):
    """Every tenure that an address was part of, oldest first."""

    address: str
    history: list[RecordedTenure]


class ReservedMade(Answer):
    """A range that is never handed out, as blocks."""

    id: UUID
    reason: str
    blocks: list[str]


class ReservedRange(ReservedMade):
    """A range that is never handed out."""

    prefix: int
    first: str
    last: str
    by: str


class Grantee(Answer):
    """Whom a right is for."""

    kind: GranteeKind
    id: UUID
    name: str | None


class Grant(Answer):
    """A right on a prefix and on what lies below it."""

    id: UUID
    prefix: int
    right: Right
    grantee: Grantee
    granted_by: str
    granted_at: datetime
    revoked_by: str | None
    revoked_at: datetime | None


class GrantSubject(Answer):
    """Who is asked about."""

    user: UUID | None
    projects: list[UUID]
    organizations: list[UUID]
    staff: bool


class Permissions(Answer):
    """What somebody may do with a prefix, and why."""

    prefix: int
    subject: GrantSubject
    right: Right | None
    reasons: list[str]


class AsnPool(Answer):
    """A pool of AS numbers."""

    name: str
    first: int
    last: int
    facility: str | None
    taken: int
    free: int


class Asn(Answer):
    """Who has an AS number."""

    asn: int
    pool: str
    owner: UUID
    slot: str
    note: dict[str, Any]
    from_: datetime = Field(alias="from")
    until: datetime | None
    opened_by: str
    closed_by: str | None


class Zone(Answer):
    """A reverse zone, and how its last update went."""

    zone: str
    network: str
    prefix: int
    delegation: str | None
    names: int
    fault: str | None
    tried_at: datetime | None
    confirmed_at: datetime | None


class Ptr(Answer):
    """What an address should be called, and what the DNS server has confirmed."""

    address: str
    name: str | None
    own: bool
    zone: str | None
    set_by: str | None
    set_at: datetime | None
    confirmed: str | None
    confirmed_at: datetime | None

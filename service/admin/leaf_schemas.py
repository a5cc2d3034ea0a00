"""What answers about leaves look like: what they should be, how they differ, and what is planned for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from netconf.connection import Database
from netconf.desired import Profile
from service.admin.schemas import DeviceAt
from service.api.schemas import Answer
from service.lifecycle import DeviceState, LeafState, MachineState


class LeafPort(Answer):
    """A port of a leaf; `generation` is what it should be, `applied` what it was seen to be."""

    name: str
    profile: Profile
    generation: int
    applied: int
    fault: str | None
    changed_at: datetime
    take_over: bool
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None
    machine: str | None
    machine_state: MachineState | None
    device: DeviceAt | None


class Leaf(Answer):
    """A leaf with its ports. `commit_s` is how long its commits take, in seconds."""

    id: UUID
    name: str
    facility: str
    host: str
    port: int
    state: LeafState
    fault: str | None
    held: bool = Field(description="Whether some process drives it now.")
    ports: list[LeafPort]
    pending: int
    faulty: int
    drifted: int
    read_at: datetime | None
    locked_since: datetime | None
    commit_s: float | None
    database: Database = Field(description="The way into its configuration.")
    fabric: dict[str, Any] | None = Field(description="Its loopback, AS number and uplinks.")
    href: str


class DriftedObject(Answer):
    """A piece of configuration that runs otherwise than it should."""

    object: str
    ports: list[str]
    difference: str


class Drift(Answer):
    """How a leaf differs from what it should be."""

    leaf: str
    state: LeafState
    fault: str | None
    fresh: bool | None = Field(description="Whether it was read for this answer; null where that was not asked.")
    read_at: datetime | None
    drifted: int
    under_way: list[str]
    objects: list[DriftedObject]
    difference: str


class Exemption(Answer):
    """What operators accept as it runs."""

    object: str
    difference: str
    accepted_by: str
    accepted_at: datetime
    lapsed: bool


class Neighbor(Answer):
    """Who is recorded, and who is seen, at the other end of a port's cable."""

    port: str
    machine: str | None
    mac: str | None
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None
    as_recorded: bool
    swapped: bool
    verdict: str


class LeafConfiguration(Answer):
    """What of a leaf's configuration is ours, as set commands and as XML, without secrets."""

    leaf: str
    set: list[str]
    xml: str


class IdAndName(Answer):
    """What has an id and a name."""

    id: UUID
    name: str


class PortTouched(Answer):
    """A port in a plan, and whose it is."""

    id: UUID
    leaf: str
    port: str
    profile: Profile
    becomes: Profile
    machine: str | None
    machine_state: MachineState | None
    device: IdAndName | None
    device_state: DeviceState | None
    project: IdAndName | None
    organization: IdAndName | None


class CustomerTouched(IdAndName):
    """An organization whose devices are on ports of a plan."""

    projects: list[IdAndName]


class LeafPlan(Answer):
    """What an action would do to a leaf, and for whom."""

    id: UUID
    leaf: str
    action: str
    arguments: dict[str, Any]
    state: Literal["planned", "expired", "applying", "refused", "done"]
    waits_for: str | None
    difference: str
    notes: list[str]
    ports: list[PortTouched]
    machines: list[str]
    devices: list[str]
    customers: list[CustomerTouched]
    read_at: datetime | None
    planned_by: str
    planned_at: datetime
    expires_at: datetime
    applied_by: str | None
    applied_at: datetime | None
    href: str

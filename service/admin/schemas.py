"""What the operators' answers look like, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from service.api.schemas import Answer, CourseRun


class DeviceAt(Answer):
    """The device that a machine or port carries."""

    hostname: str
    href: str


class MachineRun(Answer):
    """What a machine is being put through."""

    workflow: str
    step: str
    reason: str | None
    step_since: datetime


class Machine(Answer):
    """A machine, where it hangs and what it does."""

    id: UUID
    name: str
    facility: str
    plan: str
    arch: str
    mac: str
    state: str
    reason: str | None
    state_since: datetime
    leaf: str | None
    port: str | None
    profile: str | None
    port_applied: bool
    port_fault: str | None
    device: DeviceAt | None
    agent_seen_at: datetime | None
    run: MachineRun | None
    href: str


class MachineWhole(Machine):
    """A machine with its inventory and its runs."""

    inventory: dict[str, Any] | None
    runs: list[CourseRun]


class MachineState(Answer):
    """A machine, and the state that it is in now."""

    id: UUID
    state: str


class LeafPort(Answer):
    """A port of a leaf; `generation` is what it should be, `applied` what it was seen to be."""

    name: str
    profile: str
    generation: int
    applied: int
    fault: str | None
    changed_at: datetime
    take_over: bool
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None
    machine: str | None
    machine_state: str | None
    device: DeviceAt | None


class Leaf(Answer):
    """A leaf with its ports. `commit_s` is how long its commits take, in seconds."""

    id: UUID
    name: str
    facility: str
    host: str
    port: int
    state: str
    fault: str | None
    held: str | bool | None
    ports: list[LeafPort]
    pending: int
    faulty: int
    drifted: int | None
    read_at: datetime | None
    locked_since: datetime | None
    commit_s: float | None
    database: str
    fabric: Any
    href: str


class Run(Answer):
    """A course that a device or machine is on."""

    id: UUID
    workflow: str
    subject: UUID
    about: str | None
    state: str
    step: str | None
    reason: str | None
    failure: str | None
    attempt: int
    step_since: datetime
    wake_at: datetime
    deadline: datetime
    created_at: datetime
    finished_at: datetime | None


class PrefixUse(Answer):
    """A prefix, and how many of its blocks are taken."""

    id: int
    prefix: str
    parent: int | None
    role: str
    facility: str | None
    block_length: int
    blocks: int
    taken: int
    utilization: float


class Summary(Answer):
    """How much there is of what; the median is of orders, in seconds."""

    devices: int
    active: int
    failed: int
    machines: int
    ready: int
    runs: int
    median_order_s: float | None


class Enrolled(Answer):
    """How many of each were enrolled."""

    prefixes: int
    leaves: int
    machines: int


class Certificate(Answer):
    """A signed proof that a machine was erased; `valid`: it is as it was signed."""

    id: UUID
    run: UUID
    created_at: datetime
    disks: list[dict[str, Any]]
    signature: str
    valid: bool


class DriftedObject(Answer):
    """A piece of configuration that runs otherwise than it should."""

    object: str
    ports: list[str]
    difference: str


class Drift(Answer):
    """How a leaf differs from what it should be."""

    leaf: str
    state: str
    fault: str | None
    fresh: bool | None
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
    set: list[str] | str
    xml: str


class LeafPlan(Answer):
    """What an action would do to a leaf, and for whom."""

    id: UUID
    leaf: str
    action: str
    arguments: dict[str, Any]
    state: str
    waits_for: str | None
    difference: str
    notes: list[str]
    ports: list[dict[str, Any]]
    machines: list[str]
    devices: list[str]
    customers: list[dict[str, Any]]
    read_at: datetime | None
    planned_by: str
    planned_at: datetime
    expires_at: datetime
    applied_by: str | None
    applied_at: datetime | None
    href: str


class BootNode(Answer):
    """A process that answers machines, with what it has counted since it began."""

    id: UUID
    host: str
    pid: int
    address: str | None
    state: Literal["alive", "silent"]
    started_at: datetime
    seen_at: datetime
    ports: int
    loaded_at: datetime | None
    counters: dict[str, Any]


class Discovery(Answer):
    """A machine that booted at a free port."""

    leaf: str
    port: str
    facility: str
    mac: str | None
    system: str | None
    cpu: str | None
    memory_bytes: int | None
    disks_bytes: list[int] | int | None
    inventory: dict[str, Any] | None
    first_seen_at: datetime
    seen_at: datetime


class WrongCable(Answer):
    """A port at which another machine booted than the one recorded there."""

    leaf: str
    port: str
    machine: str | None
    mac: str | None
    seen_mac: str
    seen_machine: str | None
    finding: str


class Slug(Answer):
    """An operating system's releases, and the rollout that runs."""

    slug: str
    releases: list[dict[str, Any]]
    rollout: dict[str, Any] | None
    failures: list[dict[str, Any]]


class ReferredTo(Answer):
    """By slug, the releases that are needed."""

    releases: dict[str, list[str]]


class Rollout(Answer):
    """A release that some orders get, to be judged by its installs."""

    id: UUID
    slug: str
    release: str
    baseline: str | None
    plans: list[str]
    percent: int
    enough: int
    state: str
    reason: str | None
    started_at: datetime
    step_since: datetime
    ended_at: datetime | None


class HandoverRule(Answer):
    """How a hardware model is handed over to its system; what is empty stands for any."""

    id: UUID
    plan: str | None
    vendor: str
    product: str
    ways: list[str]
    note: str
    changed_at: datetime
    changed_by: str


class HandoverRules(Answer):
    """The rules, and what holds where none fits."""

    handover_rules: list[HandoverRule]
    default: list[str]


class AgentWork(Answer):
    """A piece of work of a machine's agent."""

    id: UUID
    kind: str
    state: str


class BurnInLimit(Answer):
    """A limit of a burn-in: its value, the usual one, and what it is of."""

    name: str
    value: float
    usual: float
    of: str

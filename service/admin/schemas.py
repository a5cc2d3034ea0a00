"""What answers about machines, runs and boots look like."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from netconf.desired import Profile
from service.admin.hook_schemas import HookQuestion
from service.api.device_schemas import CourseRun, RunState
from service.api.schemas import Answer
from service.lifecycle import DeviceState, MachineState


class DeviceAt(Answer):
    """The device that a machine or port carries."""

    hostname: str
    href: str


class MachineDevice(DeviceAt):
    """The device that a machine carries."""

    state: DeviceState


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
    state: MachineState
    reason: str | None
    held: str | None = Field(description="Why no order gets it although it is ready.")
    flag: str | None = Field(description="What an operator must know of it.")
    state_since: datetime
    leaving: str | None = Field(description="Why it goes to maintenance when its device is gone.")
    advice: str | None = Field(description="What is to be done, as a sentence.")
    leaf: str | None
    port: str | None
    profile: Profile | None
    rack: str | None
    rack_unit: int | None
    port_applied: bool = Field(description="Whether the leaf has taken what the port should be.")
    port_fault: str | None
    device: MachineDevice | None
    agent_seen_at: datetime | None
    run: MachineRun | None
    href: str


class MachineWhole(Machine):
    """A machine with its inventory and its runs."""

    inventory: dict[str, Any] | None
    runs: list[CourseRun]
    questions: list[HookQuestion] = Field(description="The latest that hooks were asked about it.")


class MachineNow(Answer):
    """A machine, and the state that it is in now."""

    id: UUID
    state: MachineState


class Run(Answer):
    """A course that a device or machine is on."""

    id: UUID
    workflow: str
    subject: UUID = Field(description="The device or machine.")
    about: str | None = Field(description="What the subject is called.")
    state: RunState
    step: str
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
    free_ports: int


class Certificate(Answer):
    """A signed proof that a machine was erased; `valid`: it is as it was signed."""

    id: UUID
    run: UUID
    created_at: datetime
    disks: list[dict[str, Any]]
    signature: str
    valid: bool


class BootNode(Answer):
    """A process that answers machines, with what it has counted since it began."""

    id: UUID
    host: str
    pid: int
    address: str
    state: Literal["alive", "silent"]
    started_at: datetime
    seen_at: datetime
    ports: int
    loaded_at: datetime | None
    counters: dict[str, int]


class Discovery(Answer):
    """A machine that booted at a free port."""

    leaf: str
    port: str
    facility: str
    mac: str
    state: Literal["waiting", "quarantined"]
    reason: str | None
    state_since: datetime
    system: str = Field(description="Who made it, what it is, and its serial number.")
    cpu: str
    memory_bytes: int = Field(description="0 where it does not say.")
    disks_bytes: list[int]
    inventory: dict[str, Any] = Field(description="As the machine has told it.")
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


class AgentWork(Answer):
    """A piece of work of a machine's agent."""

    id: UUID
    kind: Literal["install", "erase", "reboot", "burn_in", "rescue", "firmware"]
    slot: str
    workflow: str
    state: Literal["offered", "taken", "done", "failed", "withdrawn"]
    stage: str | None
    percent: float
    bytes_done: int
    bytes_total: int
    bytes_per_s: int
    result: dict[str, Any] = Field(description="What it came to, when it is done.")
    reason: str | None = Field(description="Why it failed.")
    created_at: datetime
    taken_at: datetime | None
    progress_at: datetime | None
    finished_at: datetime | None


class BurnInLimit(Answer):
    """A limit of a burn-in: its value, the usual one, and what it is of."""

    name: str
    value: float
    usual: float
    of: str

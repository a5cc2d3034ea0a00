"""What answers about what is on offer look like: places, plans, operating systems, and how much is free."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.api.schemas import Answer, Reference, Whole


class Metro(Whole):
    """A city, or what counts as one."""

    name: str
    code: str
    country: str


class Facility(Whole):
    """A place with racks."""

    name: str
    code: str
    features: list[str]
    address: Reference
    ip_ranges: list[str]
    metro: Metro | Reference


class PlanCpus(Answer):
    """Processors of one kind."""

    count: int
    type: str


class PlanMemory(Answer):
    """All of the memory."""

    total: str = Field(description="As `32GB`.")


class PlanDrives(Answer):
    """Disks of one kind."""

    count: int
    size: str = Field(description="As `480GB` or `1.6TB`.")
    type: Literal["SSD", "HDD", "NVME"]
    category: Literal["boot", "cache", "storage"]


class PlanNics(Answer):
    """Network cards of one kind."""

    count: int
    type: str = Field(description="As `10Gbps`.")


class PlanFeatures(Answer):
    """What the machines can do."""

    raid: bool
    txt: bool
    uefi: bool


class PlanSpecs(Answer):
    """What a machine of the plan is made of."""

    cpus: list[PlanCpus]
    memory: PlanMemory
    drives: list[PlanDrives]
    nics: list[PlanNics]
    features: PlanFeatures


class PlanPricing(Answer):
    """What a machine of the plan costs."""

    hour: float


class Plan(Whole):
    """A kind of machine that can be ordered."""

    slug: str
    name: str
    description: str
    line: str
    legacy: bool
    class_: str = Field(alias="class")
    type: str
    categories: list[str]
    deployment_types: list[str]
    pricing: PlanPricing
    specs: PlanSpecs
    available_in: list[Reference]
    available_in_metros: list[Reference]


class OperatingSystem(Whole):
    """An operating system, with the plans that it can be had on."""

    slug: str
    name: str
    distro: str
    version: str
    provisionable_on: list[str]
    preinstallable: bool
    licensed: bool
    pricing: dict[str, Any]


class Level(Answer):
    """How much is free."""

    level: Literal["normal", "limited", "critical", "unavailable"]


class Capacity(Answer):
    """By facility's or metro's code and plan's slug, how much is free."""

    capacity: dict[str, dict[str, Level]]


class ServersAvailable(Answer):
    """A wish, and whether all of it is free now."""

    plan: str
    facility: str = Field("", description="As it was asked for.")
    metro: str = Field("", description="As it was asked for.")
    quantity: int
    available: bool


class CapacityAnswer(Answer):
    """Each wish in the order of the question."""

    servers: list[ServersAvailable]


class UsualSeconds(Answer):
    """How long something takes: half of all times are below `p50`, 95 of a hundred below `p95`."""

    p50: float
    p95: float


class CapacityEta(Answer):
    """When an order that is placed now would be active at one facility."""

    facility: str
    plan: str
    operating_system: str | None = Field(description="The slug of the one that was asked for.")
    free: int = Field(description="Machines that are free now.")
    ahead: int = Field(description="Orders that get a machine before it.")
    eta: datetime | None = Field(description="null where no machine is expected.")
    seconds: UsualSeconds = Field(description="What it takes from the machine on.")
    measured: int = Field(description="Orders that `seconds` was measured of.")
    basis: Literal["measurement", "limit"] = Field(description="limit: none was measured; it is what one may take.")

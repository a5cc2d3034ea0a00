"""What answers about hardware look like: what plans are made of, BMCs, RMAs, and who is at a console."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from service.admin.schemas import MachineNow
from service.api.schemas import Answer


class BomCpu(Answer):
    """The processors; what is not compared is left out."""

    model: str = Field("", description="A part of the name.")
    sockets: int = 0
    cores: int = Field(0, description="Of all processors together.")


class BomDisks(Answer):
    """Disks of one kind and size."""

    count: int
    bytes: int
    type: str


class BomNics(Answer):
    """The network cards: at least so many, and the fastest link at least so fast."""

    count: int
    mbps: int


class BillOfMaterials(Answer):
    """What a machine is made of; what is not compared is left out."""

    arch: str = ""
    cpu: BomCpu | SkipJsonSchema[None] = None
    memory_bytes: int = 0
    disks: list[BomDisks] = Field(default_factory=list)
    nics: BomNics | SkipJsonSchema[None] = None


class PlanHardware(Answer):
    """What a plan's machines are made of, and the room that they take in a rack."""

    plan: str
    bom: BillOfMaterials
    of_specs: bool = Field(description="Whether the bill is what the plan's specs amount to.")
    rack_units: int
    nodes: int = Field(description="How many machines share these units.")


class BmcAccess(Answer):
    """Where BMCs of newly found machines are looked for."""

    facility: str
    leaf: str | None
    port: str | None
    url: str = Field(description="`{address}` stands for the machine's own, and for each address of `search`.")
    search: str | None = Field(description="A prefix.")
    username: str
    changed_at: datetime


class LookedAgain(Answer):
    """How many machines at free ports are looked at again."""

    looked_at_again: int


class BmcAccessSet(LookedAgain):
    """Where it was said of, and how many machines at free ports are looked at again."""

    facility: str
    leaf: str | None
    port: str | None


class MachineMoved(MachineNow):
    """A machine, and whether it is going to leave the state that it is in now."""

    leaving: str | None = Field(description="Why it goes to maintenance when its device is gone.")


class RmaOpened(Answer):
    """A return to the maker."""

    id: UUID
    machine: str
    reason: str
    bytes: int = Field(description="Of the evidence.")


class Rma(Answer):
    """A return to the maker, and what changed of the hardware since."""

    id: UUID
    machine: str
    reason: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None
    changes: list[str] = Field(description="Each as a sentence.")


class RmaEvidence(Answer):
    """What was known of a machine when it was to be returned, as it was signed."""

    id: UUID
    machine: str
    evidence: str = Field(description="The signed text, which is JSON.")
    signature: str = Field(description="Ed25519 (RFC 8032), in base64.")
    public_key: str
    valid: bool


class BmcSensor(Answer):
    """A sensor as the BMC tells it."""

    name: str | None
    value: float | str | None
    unit: str | None
    health: str | None


class IpmiController(Answer):
    """The BMC itself: its maker's number (IANA) and its firmware."""

    make: int
    firmware: str


class IpmiEntry(Answer):
    """An entry of the system event log."""

    log: str
    id: str
    at: str
    message: str


class IpmiBmc(Answer):
    """What a BMC tells by IPMI."""

    driver: Literal["ipmi"]
    power: Literal["on", "off"] | None
    bmc: list[IpmiController]
    sensors: list[BmcSensor]
    log: list[IpmiEntry]


class RedfishEntry(Answer):
    """An entry of one of the BMC's logs."""

    log: str | None
    id: str | None
    at: str | None
    severity: str | None
    message: str | None


class RedfishBmc(Answer):
    """What a BMC tells by Redfish. `system`, `bmc` and `firmware` have Redfish's own names, as far as it tells them."""

    driver: Literal["redfish"]
    power: str | None = Field(description="Redfish's PowerState.")
    system: dict[str, Any]
    health: dict[str, str | None] = Field(description="Of the system and of each chassis.")
    bmc: list[dict[str, Any]]
    sensors: list[BmcSensor]
    log: list[RedfishEntry]
    firmware: list[dict[str, Any]]


class BmcTold(RootModel[RedfishBmc | IpmiBmc]):
    """What a machine's BMC tells of it now."""


class Located(Answer):
    """Whether the machine's LED blinks."""

    on: bool


class BmcRestarted(Answer):
    """The BMC was told to restart."""

    restarted: bool


class BmcPasswordChanged(Answer):
    """The machines whose BMC has a new password: those behind one service share it."""

    machines: list[str]


class BmcTrusted(Answer):
    """The certificate that is expected of the BMC from now on, as its SHA-256, and the one of before."""

    was: str | None
    fingerprint: str | None = Field(description="null where the BMC shows none: it speaks without TLS.")


class ConsoleSession(Answer):
    """Somebody at a serial console."""

    id: UUID
    machine: str | None
    device_id: UUID | None
    user: str | None
    fingerprint: str = Field(description="Of the SSH key that he showed.")
    source: str
    keyboard: bool = Field(description="Whether what he types goes to the machine now.")
    wrote: bool
    open: bool
    started_at: datetime
    ended_at: datetime | None

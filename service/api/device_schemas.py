"""What answers about devices look like: the device, its parts, and how its order went."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from service.api.address_schemas import Assignment, BgpNeighbor, Block
from service.api.offer_schemas import Facility, Metro, OperatingSystem, Plan
from service.api.schemas import Answer, Meta, Reference, Whole
from service.lifecycle import DeviceState

RunState = Literal["running", "undoing", "done", "failed", "superseded"]


class Event(Whole):
    """Something that happened."""

    type: str
    state: str | None
    body: str
    interpolated: str
    created_at: datetime
    modified_by: Reference | None
    ip: str | None
    relationships: list[Reference]
    cursor: str = Field("", description="Where in the log it is: what `after` takes. Told where `after` was given.")
    private: bool = Field(False, description="Told to staff: whether the customer does not see it.")
    data: dict[str, Any] = Field(default_factory=dict, description="Told to staff: what varies.")
    machine: UUID | None = Field(None, description="Told to staff: the machine that it is about.")


class ProvisioningEvent(Answer):
    """One of the ten on a device's way; what is not reached yet has neither id nor time."""

    id: UUID | None
    type: str
    state: str | None
    body: str
    interpolated: str
    created_at: datetime | None
    modified_by: Reference | None
    ip: str | None
    relationships: list[Reference]
    href: str | None


class PortData(Answer):
    """What a port is."""

    bonded: bool
    mac: str | None = Field(None, description="Of a network port, as soon as the device has a machine.")


class BondOfPort(Answer):
    """A bond."""

    id: UUID
    name: str


class NetworkPort(Whole):
    """A device's network port, or the bond of its ports."""

    type: Literal["NetworkBondPort", "NetworkPort"]
    name: str
    data: PortData
    network_type: Literal["layer3"]
    native_virtual_network: Reference | None
    virtual_networks: list[Reference]
    bond: BondOfPort | SkipJsonSchema[None] = Field(None, description="Of a network port: the bond that it is in.")
    disbond_operation_supported: bool = Field(False, description="Told of a port that was asked for by its id.")


class DeviceAction(Answer):
    """What can be done to the device now."""

    type: str
    name: str


class Device(Whole):
    """An order and the machine that it is on."""

    short_id: str
    hostname: str
    description: str | None
    state: DeviceState
    tags: list[str]
    image_url: str | None
    billing_cycle: str
    user: str
    iqn: str
    locked: bool
    bonding_mode: int
    created_at: datetime
    updated_at: datetime
    created_by: dict[str, Any] | None
    ipxe_script_url: str | None
    always_pxe: bool
    storage: dict[str, Any] | None
    engine: str | None
    disk_layout: dict[str, Any]
    customdata: dict[str, Any]
    operating_system: OperatingSystem | Reference
    plan: Plan | Reference
    facility: Facility | Reference
    metro: Metro | Reference
    project: Reference
    project_lite: Reference
    ssh_keys: list[Reference]
    volumes: list[Reference]
    ip_addresses: list[Assignment | Reference]
    network_ports: list[NetworkPort | Reference]
    provisioning_events: list[ProvisioningEvent | Reference]
    provisioning_percentage: float | None
    userdata: str
    root_password: str | None
    switch_uuid: str | None
    network_frozen: bool
    hardware_reservation: Reference | None
    spot_instance: bool
    spot_price_max: float | None
    termination_time: datetime | None
    sos: str | None
    actions: list[DeviceAction]
    host_keys: list[str]
    failure: str | None
    deadline: datetime
    eta: datetime | None = Field(description="When it is expected to be active, while it is not.")
    eta_basis: Literal["measurement", "limit"] | None = Field(
        description="limit: no order of its plan was measured yet, and this is what it may take."
    )


class Stage(Answer):
    """A step of a run: its budget and how long it took, in seconds."""

    step: str
    attempt: int
    state: Literal["pending", "running", "ended", "done", "failed", "undone"]
    reason: str | None
    budget_s: float | None
    offset_s: float | None
    actual_s: float
    started_at: datetime | None
    finished_at: datetime | None
    percent: float | None
    detail: str | None


class CourseRun(Answer):
    """A run with its stages."""

    id: UUID
    workflow: str
    state: RunState
    reason: str | None = Field(description="What it waits for.")
    failure: str | None
    created_at: datetime
    deadline: datetime | None
    finished_at: datetime | None
    stages: list[Stage]


class Waterfall(Answer):
    """How an order went: every stage with its budget and the time that it took."""

    device: Reference
    hostname: str
    state: DeviceState
    failure: str | None
    created_at: datetime
    active_at: datetime | None
    deadline: datetime
    runs: list[CourseRun]


class DeviceUserdata(Answer):
    """What the device's system is given at its first start."""

    userdata: str


class Told(Answer):
    """The event that was recorded."""

    id: UUID


class ConsoleAt(Answer):
    """Where a serial console is by SSH."""

    user: str
    host: str
    port: int
    host_key: str = Field(description="To be expected there, as a line of an OpenSSH public key.")
    command: str = Field(description="As it is typed.")


class MetadataLicense(Answer):
    """Whether the operating system needs a licence: none does."""

    state: Literal["unlicensed"]


class MetadataSystem(Answer):
    """The operating system."""

    slug: str
    distro: str
    version: str
    image_tag: None
    license_activation: MetadataLicense


class MetadataFeatures(Answer):
    """What the machine can do."""

    uefi: bool


class MetadataSpecs(Answer):
    """What the machine is made of."""

    features: MetadataFeatures


class MetadataBlock(Answer):
    """An address of the device, or a block that leads to it; the latter is not managed."""

    id: UUID
    address_family: Literal[4, 6]
    netmask: str
    created_at: datetime
    public: bool
    cidr: int
    management: bool
    enabled: bool
    network: str
    address: str
    gateway: str
    parent_block: Block


class MetadataBond(Answer):
    """How network cards make one bond."""

    mode: int
    link_aggregation: str
    mac: str


class MetadataInterface(Answer):
    """A network card of the bond."""

    name: str
    mac: str
    bond: str


class MetadataNetwork(Answer):
    """What the device is to configure."""

    bonding: MetadataBond
    interfaces: list[MetadataInterface]
    addresses: list[MetadataBlock]
    metal_gateways: list[Reference]


class MetadataSpot(Answer):
    """Of a spot instance that is taken back: when."""

    termination_time: datetime | SkipJsonSchema[None] = None


class Metadata(Answer):
    """What the device itself is told."""

    id: UUID
    hostname: str
    iqn: str
    hardware_id: UUID
    state: DeviceState
    reserved: bool
    operating_system: MetadataSystem
    plan: str
    class_: str = Field(alias="class")
    facility: str
    metro: str
    tags: list[str]
    ssh_keys: list[str]
    customdata: dict[str, Any]
    specs: MetadataSpecs
    private_subnets: list[str]
    switch_short_id: str
    preserve_data: bool
    deprovision_fast: bool
    services: dict[str, Any]
    storage: dict[str, Any]
    network: MetadataNetwork
    bgp_neighbors: list[BgpNeighbor]
    spot: MetadataSpot
    volumes: list[Reference]
    api_url: str
    phone_home_url: str
    user_state_url: str


class VirtualNetworks(Answer):
    """None, for there are no VLANs here."""

    virtual_networks: list[Reference] = Field(max_length=0)
    meta: Meta


class Incidents(Answer):
    """None is told here."""

    incidents: list[Reference] = Field(max_length=0)


class PaymentMethods(Answer):
    """None, for who pays how is arranged elsewhere."""

    payment_methods: list[Reference] = Field(max_length=0)
    meta: Meta

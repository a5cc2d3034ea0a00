"""What the dialect's answers look like, for the OpenAPI document. (What builds them is in `service.api.objects` and
beside it; a test holds real answers against this.)

A `Reference` may be the whole object where the request said `include`, and a whole object a reference where it said
`exclude`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel


class Answer(BaseModel):
    """An object of an answer. All of its keys are always there; later versions may have more."""

    model_config = ConfigDict(extra="allow")


class Reference(Answer):
    """Where a thing is; with `include` the thing itself."""

    href: str


class Whole(Answer):
    """A thing with a place of its own."""

    id: UUID
    href: str


class Page(Answer):
    """A link to a page."""

    href: str


class Meta(Answer):
    """Where in a list the page lies."""

    first: Page
    previous: Page | None
    self: Page
    next: Page | None
    last: Page
    current_page: int
    last_page: int
    total: int


class Error(BaseModel):
    """Why a request was refused: each message names the field, its value and what is allowed."""

    errors: list[str]


class Unauthenticated(BaseModel):
    """The token is missing, or nobody's."""

    error: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[str]


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
    pricing: dict[str, Any]
    specs: dict[str, Any]
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
    quantity: int
    available: bool


class CapacityAnswer(Answer):
    """Each wish in the order of the question."""

    servers: list[ServersAvailable]


class User(Whole):
    """A person with an account."""

    short_id: str
    first_name: str
    last_name: str
    full_name: str
    email: str
    default_organization_id: UUID
    default_project_id: UUID | None
    two_factor_auth: str
    max_projects: int | None
    emails: list[Reference]
    timezone: str
    created_at: datetime
    updated_at: datetime


class Organization(Whole):
    """A customer."""

    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    customdata: dict[str, Any]
    projects: list[Reference]
    members: list[Reference]
    memberships: list[Reference]


class Project(Whole):
    """What devices and addresses belong to. Of its devices, the newest 250; the list of its devices has all."""

    name: str
    created_at: datetime
    updated_at: datetime
    max_devices: dict[str, Any]
    customdata: dict[str, Any]
    backend_transfer_enabled: bool
    type: str
    tags: list[str]
    members: list[Reference]
    memberships: list[Reference]
    invitations: list[Reference]
    payment_method: Reference
    devices: list[Reference]
    ssh_keys: list[Reference]
    volumes: list[Reference]
    bgp_config: Reference | None
    organization: Reference
    url: str


class SshKey(Whole):
    """A public key; `owner` and `entity` are the user or project that has it."""

    label: str
    key: str
    fingerprint: str
    tags: list[str]
    owner: Reference
    entity: Reference
    created_at: datetime
    updated_at: datetime


class Event(Whole):
    """Something that happened. Staff also see whether it is private, its data, and the machine's id."""

    type: str
    state: str | None
    body: str
    interpolated: str
    created_at: datetime
    modified_by: Reference | None
    ip: str | None
    relationships: list[Reference]


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


class Block(Answer):
    """The block that an address lies in."""

    network: str
    netmask: str
    cidr: int
    href: str


class Address(Whole):
    """An address or a block: an assignment has `assigned_to`, a reservation has `type`, and neither has both."""

    address_family: Literal[4, 6]
    netmask: str
    cidr: int
    network: str
    address: str
    gateway: str
    public: bool
    management: bool
    manageable: bool
    enabled: bool
    global_ip: bool | None
    details: str | None
    tags: list[str]
    customdata: dict[str, Any]
    project: dict[str, Any]
    project_lite: dict[str, Any]
    created_at: datetime
    facility: Facility | Reference | None
    metro: Metro | Reference | None


class Assignment(Address):
    """An address, or a block, that leads to a device."""

    assigned_to: Reference
    interface: Reference
    parent_block: Block | Reference


class Reservation(Address):
    """A block of a project: elastic, or the management block of one of its devices."""

    type: Literal["public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4"]
    addon: bool
    bill: bool
    state: str
    available: str
    assignments: list[Reference]
    requested_by: Reference | None


class AssignmentOrReservation(RootModel[Assignment | Reservation]):
    """What an id of an address leads to."""


class Available(Answer):
    """What of a reservation is free, in subnets: `["203.0.113.32/32"]`."""

    available: list[str]


class NetworkPort(Whole):
    """A device's network port, or the bond of its ports."""

    type: Literal["NetworkBondPort", "NetworkPort"]
    name: str
    data: dict[str, Any]
    network_type: str
    native_virtual_network: Reference | None
    virtual_networks: list[Reference]


class DeviceAction(Answer):
    """What can be done to the device now."""

    type: str
    name: str


class Device(Whole):
    """An order and the machine that it is on."""

    short_id: str
    hostname: str
    description: str | None
    state: Literal[
        "queued",
        "provisioning",
        "deprovisioning",
        "reinstalling",
        "active",
        "inactive",
        "failed",
        "powering_on",
        "powering_off",
        "deleted",
    ]
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
    eta: datetime | None  # when it is expected to be active, while it is not


class Stage(Answer):
    """A step of a run: its budget and how long it took, in seconds."""

    step: str
    attempt: int
    state: str
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
    state: str
    reason: str | None
    failure: str | None
    created_at: datetime
    deadline: datetime | None
    finished_at: datetime | None
    stages: list[Stage]


class Waterfall(Answer):
    """How an order went: every stage with its budget and the time that it took."""

    device: Reference
    hostname: str
    state: str
    failure: str | None
    created_at: datetime
    active_at: datetime | None
    deadline: datetime
    runs: list[CourseRun]


class BgpConfiguration(Answer):
    """How a project speaks BGP. The password is told to who may write."""

    id: UUID
    status: Literal["requested", "enabled"]
    deployment_type: Literal["local", "global"]
    asn: int
    md5: str | None
    use_case: str | None
    route_object: str | None
    max_prefix: int
    project: Reference
    sessions: list[Reference]
    ranges: list[dict[str, Any]]
    requested_at: datetime
    created_at: datetime
    href: str


class BgpSession(Whole):
    """A session of a device with its leaf."""

    status: Literal["unknown", "up", "down"]
    learned_routes: list[str]
    switch_name: str | None
    address_family: Literal["ipv4", "ipv6"]
    default_route: bool
    device: Reference
    created_at: datetime
    updated_at: datetime


class BgpRoute(Answer):
    """A route, and whether longer ones are let through as well."""

    route: str
    exact: bool


class BgpNeighbor(Answer):
    """What a device is to configure for a session."""

    address_family: Literal[4, 6]
    customer_as: int
    customer_ip: str
    default_route: bool
    md5_enabled: bool
    md5_password: str | None
    multihop: bool
    peer_as: int
    peer_ips: list[str]
    routes_in: list[BgpRoute]
    routes_out: list[BgpRoute]

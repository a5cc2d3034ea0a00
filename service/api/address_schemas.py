"""What answers about addresses and BGP look like."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import RootModel

from service.api.offer_schemas import Facility, Metro
from service.api.schemas import Answer, Reference, Whole


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

"""What answers about reservations, batches, the spot market, usage and traffic look like, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from service.api.offer_schemas import Facility, Plan
from service.api.schemas import Answer, Reference, Whole


class HardwareReservation(Whole):
    """A machine that is kept for one project."""

    short_id: str
    facility: Facility | Reference
    plan: Plan | Reference
    project: Reference
    device: Reference | None
    provisionable: bool
    spare: bool
    need_of_service: bool
    switch_uuid: str
    custom_rate: float | None
    description: str | None
    created_at: datetime
    termination_time: datetime | None


class Batch(Whole):
    """Devices that were ordered together."""

    state: Literal["queued", "in_progress", "completed", "failed"]
    quantity: int
    error_messages: list[str]
    devices: list[Reference]
    project: Reference
    created_at: datetime
    updated_at: datetime


class Price(Answer):
    """What something costs an hour."""

    price: float


class SpotPrices(Answer):
    """By facility's or metro's code and plan's slug, what a spot machine costs."""

    spot_market_prices: dict[str, dict[str, Price]]


class Datapoints(Answer):
    """A value and the unix second of each."""

    datapoints: list[tuple[float, int]]


class SpotPriceHistory(Answer):
    """The changes of a price."""

    prices_history: Datapoints


class MetroNamed(Answer):
    """A metro."""

    id: UUID
    code: str
    name: str


class SpotMarketRequest(Whole):
    """Machines that are ordered while they cost no more than the bid."""

    devices_min: int
    devices_max: int
    max_bid_price: float
    facilities: list[Reference]
    instances: list[Reference]
    project: Reference
    end_at: datetime | None
    created_at: datetime
    reason: str | None
    metro: MetroNamed | None


class Usage(Answer):
    """Something that was used for some time at one price. Amounts are decimal text; `quantity` is in hours."""

    id: UUID
    type: str
    name: str
    plan: str
    plan_version: str
    facility: str
    unit: str
    quantity: str
    price: str
    total: str
    seconds: int
    from_: datetime = Field(alias="from")
    until: datetime


class Usages(Answer):
    """What was used, and what it costs together."""

    usages: list[Usage]
    total: str


class BandwidthTags(Answer):
    """What a series of rates is."""

    aggregatedBy: str
    name: str


class BandwidthSeries(Datapoints):
    """Octets a second, one way."""

    target: Literal["inbound", "outbound"]
    tags: BandwidthTags


class Bandwidth(Answer):
    """Both ways, inbound first."""

    bandwidth: list[BandwidthSeries]


class TrafficTotal(Datapoints):
    """Octets one way, in all and by parts of the time."""

    direction: Literal["inbound", "outbound"]
    unit: str
    total: int


class Traffic(Answer):
    """How much went through."""

    traffic: TrafficTotal

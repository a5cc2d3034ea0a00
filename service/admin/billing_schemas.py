"""What answers about what customers pay for look like: reservations, usage and prices."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from service.api.order_schemas import HardwareReservation, Usage
from service.api.schemas import Answer
from service.lifecycle import MachineState


class MachineReserved(HardwareReservation):
    """A machine that is kept for one project, as staff see it."""

    machine: str
    machine_state: MachineState
    ended_at: datetime | None


class CustomerUsage(Usage):
    """Something that a customer used."""

    organization_id: UUID
    organization: str
    project_id: UUID
    project: str


class MonthUsages(Answer):
    """What was used in a month, and what it costs together."""

    month: str = Field(description="As `2026-03`.")
    usages: list[CustomerUsage]
    total: str = Field(description="Decimal text.")


class AddressPriceSince(Answer):
    """What an elastic address costs an hour from a time on."""

    type: Literal["public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4"]
    hour: float
    since: datetime
    set_by: str

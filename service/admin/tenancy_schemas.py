"""What answers about all customers' accounts look like."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.api.account_schemas import ApiKey, Membership, Organization, User
from service.api.schemas import Answer
from service.policy import Role


class Account(User):
    """A user as staff see him."""

    staff_role: Literal[Role.OPERATOR, Role.SUPPORT, Role.FACILITY] | None
    disabled_at: datetime | None = Field(description="Since then his tokens are good for nothing.")


class AccountWhole(Account):
    """A user with what he is a member of, and his tokens."""

    memberships: list[Membership]
    api_keys: list[ApiKey]


class Quota(Answer):
    """Limits; null is without one."""

    devices: int | None
    elastic_ipv4: int | None = Field(description="Addresses.")
    elastic_ipv6: int | None = Field(description="Networks of 64 bits.")
    projects: int | None
    members: int | None


class Used(Answer):
    """How much there is, in the units of a quota."""

    devices: int
    elastic_ipv4: int
    elastic_ipv6: int
    projects: int
    members: int


class QuotaAndUse(Answer):
    """The limits, and what is used of them."""

    quota: Quota
    use: Used


class OrganizationAndUse(Organization, QuotaAndUse):
    """A customer with his limits and what he uses of them."""

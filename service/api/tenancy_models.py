"""What requests about organizations, members, invitations and tokens may say."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from service.api.models import Custom, Ids, Maybe, Name, Request, Text, Words
from service.api.problems import shown
from service.policy import CUSTOMER_ROLES, STAFF_ROLES

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError(f"{shown(value)} must be an e-mail address, as name@example.org")
    return value


def _roles(value: list[str]) -> list[str]:
    for role in value:
        if role not in CUSTOMER_ROLES:
            raise ValueError(f"{shown(role)} is not one of {', '.join(CUSTOMER_ROLES)}")
    return sorted(set(value), key=CUSTOMER_ROLES.index)


def _none_if_blank(value: object) -> object:
    return None if value == "" else value


def _staff_role(value: str | None) -> str | None:
    if value is not None and value not in STAFF_ROLES:
        raise ValueError(f"{shown(value)} is not one of {', '.join(STAFF_ROLES)}")
    return value


Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), AfterValidator(_email)]
Roles = Annotated[Words, Field(min_length=1, max_length=4), AfterValidator(_roles)]
StaffRole = Annotated[str | None, BeforeValidator(_none_if_blank), AfterValidator(_staff_role)]
Limit = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]  # false would be none at all


class CreateOrganization(Request):
    """A new organization."""

    name: Name
    description: Maybe[Text] = None
    customdata: Custom = Field(default_factory=dict)


class ChangeOrganization(Request):
    """What can be changed of an organization."""

    name: Maybe[Name] = None
    description: Maybe[Text] = None
    customdata: Custom | None = None


class ChangeUser(Request):
    """What a user may change of himself."""

    first_name: Maybe[Text] = None
    last_name: Maybe[Text] = None


class ChangeMembership(Request):
    """What a member is from now on."""

    roles: Roles


class Invite(Request):
    """Who is invited, to be what. `projects_ids` makes him a member of these projects of the organization alone."""

    invitee: Email
    roles: Roles = Field(default_factory=lambda: ["collaborator"])
    projects_ids: Ids = Field(default_factory=list)
    message: Text = ""


class CreateToken(Request):
    """A new token."""

    description: Text = ""
    read_only: Maybe[bool] = None


class CreateUser(Request):
    """A new account, with an organization that it belongs to: one that is there, or a new one of that name."""

    email: Email
    first_name: Text = ""
    last_name: Text = ""
    staff_role: StaffRole = None
    organization_id: Maybe[UUID] = None
    organization_name: Maybe[Name] = None
    roles: Roles = Field(default_factory=lambda: ["owner"])


class SetUser(Request):
    """What staff may change of an account. A disabled user's tokens stop at once."""

    email: Maybe[Email] = None
    first_name: Maybe[Text] = None
    last_name: Maybe[Text] = None
    staff_role: StaffRole = None
    disabled: Maybe[bool] = None


class SetQuota(Request):
    """All limits; one that is null or left out is without a limit."""

    devices: Limit | None = None
    elastic_ipv4: Limit | None = None
    elastic_ipv6: Limit | None = None
    projects: Limit | None = None
    members: Limit | None = None

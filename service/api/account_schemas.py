"""What answers about accounts look like: users, organizations, projects, keys, members and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, RootModel

from service.api.schemas import Reference, Whole
from service.policy import Role

CustomerRole = Literal[Role.OWNER, Role.ADMIN, Role.COLLABORATOR, Role.VIEWER]


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


class Email(Whole):
    """The e-mail address of an account, which has one. Its id is the user's."""

    address: str
    default: bool
    verified: bool
    created_at: datetime


class Membership(Whole):
    """What a user is in an organization with all of its projects, or in one project; the other of the two is null."""

    roles: list[CustomerRole]
    user: Reference
    organization: Reference | None
    project: Reference | None
    created_at: datetime
    updated_at: datetime


class Invitation(Whole):
    """A membership that is offered to whoever has the e-mail address `invitee`."""

    invitee: str
    roles: list[CustomerRole]
    message: str
    organization: Reference | None = Field(description="null where it is into one project alone.")
    projects: list[Reference] = Field(description="Into these alone; empty: into the organization.")
    invited_by: Reference | None
    created_at: datetime
    updated_at: datetime


class ApiKey(Whole):
    """A token of a user, or of a project; the other of the two is null."""

    token: str | None = Field(description="What is sent as X-Auth-Token. null but in the answer that makes it.")
    description: str
    read_only: bool
    user: Reference | None
    project: Reference | None
    created_at: datetime
    updated_at: datetime


class CustomData(RootModel[dict[str, Any]]):
    """What the customer has kept there: an object of his own."""

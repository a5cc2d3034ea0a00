"""Who may do what: one table of roles and rights, which the customers' API, the operators' API and the console ask.

Each route names the one right that it needs. A customer's role holds within an organization or a project that he is a
member of; a staff role holds everywhere. What a caller may not see is 404 for him, what he may see and not do is 403.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache


class Right(StrEnum):
    """What a route asks for."""

    # Of customers, each within what they are members of.
    OPEN = "open"  # what is on offer: any token
    SELF = "self"  # the user's own account, keys and tokens; a project's token speaks for no user
    VIEW = "view"  # to look at an organization, a project and what is in it
    USE = "use"  # to order, change and give back: devices, addresses, BGP, keys of a project
    MANAGE = "manage"  # members, invitations, projects, a project's tokens, webhooks
    OWN = "own"  # the organization itself: its name, its owners, its end
    # Of staff.
    LOOK = "look"  # to read everything that operators read
    SUPPORT = "support"  # to act for customers: users, tokens, quotas, devices
    FACILITY = "facility"  # to act on hardware: enrolment, machines, racks, hooks of facility systems
    OPERATE = "operate"  # all else: leaves, prefixes, images, plans, settings, staff


class Role(StrEnum):
    """What a member of an organization or project, or of the staff, is."""

    OWNER = "owner"
    ADMIN = "admin"
    COLLABORATOR = "collaborator"
    VIEWER = "viewer"
    OPERATOR = "operator"
    SUPPORT = "support"
    FACILITY = "facility"


CUSTOMER_ROLES = (Role.OWNER, Role.ADMIN, Role.COLLABORATOR, Role.VIEWER)
STAFF_ROLES = (Role.OPERATOR, Role.SUPPORT, Role.FACILITY)

_ANY = frozenset({Right.OPEN, Right.SELF})
_VIEWER = _ANY | {Right.VIEW}
_COLLABORATOR = _VIEWER | {Right.USE}
_ADMIN = _COLLABORATOR | {Right.MANAGE}
_OWNER = _ADMIN | {Right.OWN}
_STAFF = _VIEWER | {Right.LOOK}

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.COLLABORATOR: _COLLABORATOR,
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _STAFF | _OWNER | {Right.SUPPORT, Right.FACILITY, Right.OPERATE},
    Role.SUPPORT: _STAFF | _OWNER | {Right.SUPPORT},
    Role.FACILITY: _STAFF | {Right.FACILITY},
}


# What a token may that speaks for one project alone, there and elsewhere.
PROJECT_KEY = RIGHTS[Role.COLLABORATOR] - {Right.SELF}
OF_NOBODY = frozenset({Right.OPEN})
OF_USERS = _ANY  # what every user may, whatever he is a member of
OF_STAFF = frozenset({Right.LOOK, Right.SUPPORT, Right.FACILITY, Right.OPERATE})  # rights that hold of no place
USING_ROLES = tuple(role for role in CUSTOMER_ROLES if Right.USE in RIGHTS[role])
NO_RIGHTS: frozenset[Right] = frozenset()


def rights_of(roles: Iterable[str]) -> frozenset[Right]:
    """What somebody may who has these roles, where they hold."""
    return _together(frozenset(roles))


@cache
def _together(roles: frozenset[str]) -> frozenset[Right]:
    return NO_RIGHTS.union(*(RIGHTS[Role(role)] for role in roles))

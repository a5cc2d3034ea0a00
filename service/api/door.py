"""The door: whether a caller may do what a route does, to what its path names. The one place that asks the policy.

What a path names is somewhere: in a project, in an organization, or with a user himself. The caller's right there
decides. What he may not see is 404 for him, what he may see and not do is 403.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from service.api.links import bond0_of, eth0_of, reservation_of
from service.api.problems import Refused, forbidden, not_found
from service.policy import OF_STAFF, Right
from service.store.accounts import Principal
from service.store.rows import Connection
from sql.loader import Q

READS = "You are not authorized: this token may only read"


def _same(id_: UUID) -> list[UUID]:
    return [id_]


# The placeholders of customers' routes. Each has the query that tells where such a thing is, and the ids of rows that
# an id of the path may mean. None: its handler looks after it.
PLACES: Mapping[str, tuple[str, Callable[[UUID], list[UUID]]] | None] = {
    "organization": ("place_of_organization", _same),
    "project": ("place_of_project", _same),
    "device": ("place_of_device", _same),
    "port": ("place_of_device", lambda id_: [bond0_of(id_), eth0_of(id_)]),
    "ip": ("place_of_ip", lambda id_: [id_, reservation_of(id_)]),
    "key": ("place_of_key", _same),
    "token": ("place_of_token", _same),
    "session": ("place_of_session", _same),
    "event": ("place_of_event", _same),
    "membership": ("place_of_membership", _same),
    "own_membership": ("place_of_own_membership", _same),
    "invitation": ("place_of_invitation", _same),
    "batch": ("place_of_batch", _same),
    "request": ("place_of_spot_request", _same),
    "reservation": ("place_of_reservation", _same),
    # Looked for among what belongs to the project or organization that the path names, too.
    "webhook": None,
    "delivery": None,
    "user": None,  # seen by whoever shares a membership with him
    "seen_key": None,  # as the user who has it
    # Rights on prefixes are granted one by one (ipam.permissions).
    "prefix": None,
    "grant": None,
    "range": None,
    "tenure": None,
    "address": None,
    "zone": None,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: in an organization, in a project of it, or a user's own."""

    organization_id: UUID | None
    project_id: UUID | None
    user_id: UUID | None

    def rights_of(self, caller: Principal) -> frozenset[Right]:
        """What the caller may there; with what is his own, everything that a customer may."""
        if self.user_id is not None and self.user_id == caller.user_id:
            return frozenset(Right) - OF_STAFF
        return caller.rights_in(self.organization_id, self.project_id) - {Right.SELF}


async def enter(db: Connection, caller: Principal, right: Right, ids: Mapping[str, str], *, changes: bool) -> None:
    """Return when the caller may do what needs the right to what the path's placeholders `ids` name. `changes` says
    whether it changes anything. Raises Refused: 403, or 404 for what he does not see.
    """
    if caller.read_only and changes:
        raise forbidden(READS)
    if right in OF_STAFF:
        _staff_only(caller, right)
    elif right is Right.OPEN or (right is Right.VIEW and caller.staff):
        return
    elif right is Right.SELF and caller.user_id is None:
        raise forbidden("You are not authorized: a project's token speaks for no user")
    else:
        await _at(db, caller, right, ids)


def _staff_only(caller: Principal, right: Right) -> None:
    if caller.staff_role is None:
        raise forbidden("You are not authorized: this needs a staff token")
    if right not in caller.rights:
        raise forbidden(f"You are not authorized: {caller.staff_role} staff may not {right}")


async def _at(db: Connection, caller: Principal, right: Right, ids: Mapping[str, str]) -> None:
    places = [(found, text) for name, text in ids.items() if (found := PLACES.get(name)) is not None]
    for (query, meant), text in places:
        check(caller, right, await _place(db, query, meant, text))
    # Lists of what he sees are empty for somebody who sees nothing.
    if not places and right is not Right.VIEW and not caller.anywhere(right):
        raise refusal(right)


async def _place(db: Connection, query: str, meant: Callable[[UUID], list[UUID]], text: str) -> Place | None:
    try:
        id_ = UUID(text)
    except ValueError:
        return None
    rows = await db.fetch(Q[query], meant(id_))
    return Place(**rows[0]) if rows else None


def check(caller: Principal, right: Right, place: Place | None) -> None:
    """Return when the caller has the right there. Raises Refused: 403, or 404 where he sees nothing."""
    rights = frozenset() if place is None else place.rights_of(caller)
    if Right.VIEW not in rights:
        raise not_found()
    if right not in rights:
        raise refusal(right)


def refusal(right: Right) -> Refused:
    """That the caller sees something, and has not the right to do this with it."""
    if right is Right.SELF:
        return forbidden("You are not authorized: this is another user's")
    return forbidden(f"You are not authorized: your role does not let you {right} here")

"""What the address manager's permissions mean for a request: whom they are asked for, and how a refusal is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ipam import permissions
from ipam.errors import IpamError, NoPrefix
from ipam.permissions import NoGrant, NotAllowed, Right, Subject
from service import policy
from service.api.call import Call
from service.api.problems import Invalid, forbidden, not_found
from service.store.accounts import Principal
from service.store.rows import Connection

_LARGEST_ID = 2**63 - 1


def runs_addresses(principal: Principal) -> bool:
    """Whether the address space is his to run, beyond any grant."""
    return policy.Right.OPERATE in principal.rights


def subject_of(principal: Principal, right: Right = "view") -> Subject:
    """Whom the permissions are asked for when this caller acts: with his organizations and projects as far as his role
    there lets him look, or use what they have.
    """
    viewing = right == "view"
    organization_ids, project_ids = principal.where(policy.Right.VIEW if viewing else policy.Right.USE)
    return Subject(
        user_id=principal.user_id,
        project_ids=frozenset(project_ids),
        organization_ids=frozenset(organization_ids),
        staff=principal.staff if viewing else runs_addresses(principal),
    )


async def require(conn: Connection, principal: Principal, prefix_id: int, right: Right) -> None:
    """Return when the caller has the right on the prefix. Raises NotAllowed, also when there is no such prefix."""
    try:
        await permissions.require(conn, subject_of(principal, right), prefix_id, right)
    except NotAllowed as err:
        if not err.visible and right != "view":  # his role may let him look at it
            await permissions.require(conn, subject_of(principal), prefix_id, "view")
            raise NotAllowed(f"{right} is needed on prefix {prefix_id}", visible=True) from None
        raise


@contextmanager
def answered() -> Iterator[None]:
    """The address manager's refusals as answers. Raises Refused.

    404 for what is not there or may not be seen, 403 for what may be seen but not done, 422 for everything else.
    """
    try:
        yield
    except NotAllowed as err:
        raise (forbidden(f"You are not authorized: {err}") if err.visible else not_found()) from None
    except (NoPrefix, NoGrant):
        raise not_found() from None
    except IpamError as err:
        raise Invalid(str(err)) from None


def prefix_id_of(call: Call) -> int:
    """The id that the path has for its prefix. Raises Refused (404) for what is no id."""
    text = call.ids["prefix"]
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST_ID):
        raise not_found()
    return int(text)


async def allowed_prefix(call: Call, conn: Connection, right: Right) -> int:
    """The path's prefix, on which the caller has the right. Raises Refused: 404, or 403."""
    prefix_id = prefix_id_of(call)
    with answered():
        await require(conn, call.caller, prefix_id, right)
    return prefix_id

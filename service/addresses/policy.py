"""What the address manager's permissions mean for a request: whom they are asked for, and how a refusal is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ipam.errors import IpamError, NoPrefix
from ipam.permissions import NoGrant, NotAllowed, Right, Subject, require
from service.api.call import Call
from service.api.problems import Invalid, forbidden, not_found
from service.store.accounts import Principal
from service.store.rows import Connection

_LARGEST_ID = 2**63 - 1


def subject_of(principal: Principal) -> Subject:
    """Whom the permissions are asked for when this caller acts."""
    return Subject(
        user_id=principal.user_id,
        project_id=principal.project_id,
        organization_id=principal.organization_id,
        staff=principal.staff,
    )


@contextmanager
def answered() -> Iterator[None]:
    """The address manager's refusals as answers.

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
        await require(conn, subject_of(call.caller), prefix_id, right)
    return prefix_id

"""The secret that a facility's own systems sign their events with: set, rotated with an overlap, taken away."""

from __future__ import annotations

from datetime import timedelta

from service.admin import hook_schemas
from service.admin.facility_inbox import FacilitySecret
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import read
from service.api.problems import not_found
from service.hooks.signature import new_secret
from service.hooks.wishes import Rotate
from service.policy import Right
from service.secrets import seal
from sql.loader import Q

_PATH = "/admin/v1/facilities/{facility}/secret"


async def get_secret(call: Call) -> Body:
    """GET /admin/v1/facilities/{facility}/secret: whether its systems may sign events, and since when"""
    return await _shown(call)


async def set_secret(call: Call) -> Body:
    """POST /admin/v1/facilities/{facility}/secret: a new secret, told once; the old one is good for `overlap_s` more"""
    asked = read(Rotate, call.body)
    now, secret = call.api.clock.now(), new_secret()
    until = now + timedelta(seconds=asked.overlap_s)
    sealed = seal(call.api.key, secret)
    if (
        await call.db.fetchval(Q["set_facility_secret"], call.ids["facility"], sealed, call.caller.actor, now, until)
        is None
    ):
        raise not_found()
    return await _shown(call) | {"secret": secret}


async def remove_secret(call: Call) -> None:
    """DELETE /admin/v1/facilities/{facility}/secret: nothing that is signed for it is taken any more"""
    if await call.db.fetchval(Q["remove_facility_secret"], call.ids["facility"]) is None:
        raise not_found()


async def _shown(call: Call) -> Body:
    row = await call.db.fetchrow(Q["facility_secret"], call.ids["facility"])
    if row is None:
        raise not_found()
    one = FacilitySecret(**row)
    old = one.old_secret_until
    return {
        "facility": one.facility,
        "set_at": None if one.set_at is None else stamp(one.set_at),
        "set_by": one.set_by,
        "old_until": None if old is None or old <= call.api.clock.now() else stamp(old),
    }


ROUTES = (
    Route("GET", _PATH, get_secret, right=Right.LOOK, answer=hook_schemas.SigningFacility),
    Route("POST", _PATH, set_secret, right=Right.FACILITY, body=Rotate, answer=hook_schemas.FacilitySecretMade),
    Route("DELETE", _PATH, remove_secret, right=Right.FACILITY, status=204),
)

"""The keys that seal secrets, as operators see and change them. A key itself is never told."""

from __future__ import annotations

from service.admin import record_schemas
from service.api.call import Body, Call, Route
from service.api.models import Strict, read
from service.api.problems import Invalid
from service.key_rotation import RotationUnderWay, add_next, rotate
from service.policy import Right
from service.store.sealed import counted


class RotateKey(Strict):
    """Whether a key is only added (`prepare`), or put in front."""

    prepare: bool = False


async def list_keys(call: Call) -> Body:
    """GET /admin/v1/keys: the keys of this host, and how many sealed values need which; every value is tried"""
    found = await counted(call.db, call.api.key)
    return {
        "keys": [{"id": key.id.hex(), "use": key.use} for key in call.api.key.keys],
        "sealed": [
            {
                "place": name,
                "values": here.values,
                "unreadable": here.unreadable,
                "by_key": {key or "other": count for key, count in sorted(here.by_key.items())},
            }
            for name, here in found.items()
        ],
    }


async def rotate_key(call: Call) -> Body:
    """POST /admin/v1/keys: have a new key seal from now on; what older ones sealed is sealed again in the background"""
    asked = read(RotateKey, call.body)
    try:
        keys = (add_next if asked.prepare else rotate)(call.api.settings.state_dir)
    except RotationUnderWay as err:
        raise Invalid(str(err)) from None
    return {"keys": [{"id": key.id.hex(), "use": key.use} for key in keys]}


ROUTES = (
    Route("GET", "/admin/v1/keys", list_keys, right=Right.LOOK, answer=record_schemas.SealedByKeys),
    Route(
        "POST",
        "/admin/v1/keys",
        rotate_key,
        status=202,
        right=Right.OPERATE,
        body=RotateKey,
        answer=record_schemas.SealingKeys,
    ),
)

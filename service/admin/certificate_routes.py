"""Erase certificates as operators look at them."""

from __future__ import annotations

import hmac

from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.problems import not_found
from service.certificates import signature_of
from sql.loader import Q


async def list_certificates(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/certificates: newest first, each with its disks; `valid`: as it was signed"""
    machine_id = await call.db.fetchval(Q["machine_named"], call.ids["machine"])
    if machine_id is None:
        raise not_found()
    found = []
    for row in await call.db.fetch(Q["certificates_of_machine"], machine_id):
        signature = signature_of(call.api.key, machine_id, row["run_id"], row["evidence"])
        found.append(
            {
                "id": str(row["id"]),
                "run": str(row["run_id"]),
                "created_at": stamp(row["created_at"]),
                "disks": row["evidence"]["disks"],
                "signature": row["signature"].hex(),
                "valid": hmac.compare_digest(signature, row["signature"]),
            }
        )
    return {"certificates": found}


ROUTES = (Route("GET", "/admin/v1/machines/{machine}/certificates", list_certificates),)

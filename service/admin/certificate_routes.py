"""Erase certificates as operators look at them."""

from __future__ import annotations

from service.admin import schemas
from service.admin.named import machine_id_in
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.certificates import Certificate, certificates_of
from service.policy import Right


def _certificate(one: Certificate) -> Body:
    return {
        "id": str(one.id),
        "run": str(one.run_id),
        "created_at": stamp(one.created_at),
        "disks": one.disks,
        "signature": one.signature.hex(),
        "valid": one.valid,
    }


async def list_certificates(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/certificates: newest first, each with its disks; `valid`: as it was signed"""
    machine_id = await machine_id_in(call)
    found = await certificates_of(call.db, call.api.key, machine_id)
    return {"certificates": [_certificate(one) for one in found]}


ROUTES = (
    Route(
        "GET",
        "/admin/v1/machines/{machine}/certificates",
        list_certificates,
        right=Right.LOOK,
        objects="certificates",
        answer=schemas.Certificate,
    ),
)

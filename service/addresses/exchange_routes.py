"""Import and export of the address space, for staff: files in, files out, whatever their size.

A file is larger than any other request, and goes out in pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields

import structlog

from ipam.errors import IpamError
from ipam.exchange import csv_format, netbox, netbox_print
from ipam.exchange.apply import ImportConflicts, Plan, apply, plan
from ipam.exchange.diff import Change, counts
from ipam.exchange.read import Printer, export, organizations, organizations_by_name
from ipam.exchange.rows import BadSource, LeftOut, Row, Source, shown
from service.addresses import report_schemas
from service.api import parameters
from service.api.call import Body, Call, File, Route
from service.api.door import READS
from service.api.problems import Invalid, forbidden
from service.policy import Right
from service.store.rows import Connection, Pool

log = structlog.get_logger()

LARGEST_FILE = 64 << 20  # bytes
LARGEST_SOURCE = 100_000  # rows; so many take about half a minute
_CONFLICTS_TOLD = 100
_EXAMPLES = 5
_FORMATS = ("csv", "netbox")
_TYPES = {"csv": "text/csv", "netbox": "application/json"}


async def bring_in(call: Call) -> Body:
    """POST /ipam/v1/import?format=csv|netbox&apply=false: what the file would do, or, with apply=true, doing it"""
    format_, doing = _format_of(call), bool(call.flag("apply"))
    if doing and call.caller.read_only:
        raise forbidden(READS)
    try:
        async with call.db.acquire() as conn:
            source = await _source(conn, format_, call.content)
            if len(source.wishes) > LARGEST_SOURCE:
                much = f"{len(source.wishes)} rows are too many; allowed are {LARGEST_SOURCE}"
                raise Invalid(f"Import is not valid: {much}, so import a VRF or a prefix at a time")
            if doing:
                async with conn.transaction():
                    made = await apply(conn, source, by=call.caller.actor, now=call.api.clock.now())
            else:
                async with conn.transaction(isolation="repeatable_read", readonly=True):
                    made = await plan(conn, source)
    except BadSource as err:
        raise Invalid(*err.problems) from None
    except ImportConflicts as err:
        told = [str(change) for change in err.conflicts[:_CONFLICTS_TOLD]]
        raise Invalid(f"Import is not valid: {err}", *told) from None
    except IpamError as err:
        raise Invalid(str(err)) from None
    body = _outcome(made, applied=doing)
    log.info("address_import", format=format_, applied=doing, bytes=len(call.content), **body["counts"])
    return body


async def bring_out(call: Call) -> File:
    """GET /ipam/v1/export?format=csv|netbox: all that is there, in a form that an import takes again"""
    format_ = _format_of(call)
    return File(_exported(call.db, format_), f"{_TYPES[format_]}; charset=utf-8", compressed=True)


async def _exported(db: Pool, format_: str) -> AsyncGenerator[bytes, None]:
    async with db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        printer: Printer = csv_format.Printer()
        if format_ == "netbox":
            printer = netbox_print.Printer(await organizations(conn))
        async for piece in export(conn, printer):
            yield piece.encode()


def _format_of(call: Call) -> str:
    format_ = call.word("format") or "csv"
    if format_ not in _FORMATS:
        raise Invalid(f"Format is not valid: {shown(format_)}; allowed are {', '.join(_FORMATS)}")
    return format_


async def _source(conn: Connection, format_: str, content: bytes) -> Source:
    """The file's rows; reading a large one takes seconds, in which others go on."""
    if format_ == "csv":
        return await asyncio.to_thread(csv_format.parse, content)
    return await asyncio.to_thread(netbox.parse, content, await organizations_by_name(conn))


def _outcome(made: Plan, *, applied: bool) -> Body:
    return {
        "applied": applied,
        "counts": dict(counts(made.changes)),
        "changes": [_change(one) for one in made.changes if one.action != "same"],
        "left_out": _left_out(made.left_out),
    }


def _change(one: Change) -> Body:
    told: Body = {
        "action": one.action,
        "kind": one.kind,
        "name": str(one.row),
        "where": one.where,
        "reason": one.reason,
    }
    if one.action == "add":
        told["row"] = _values(one.row, [field.name for field in fields(one.row)])
    if one.action == "change" and one.before is not None:
        told["before"], told["after"] = _values(one.before, one.fields), _values(one.row, one.fields)
    return told


def _values(row: Row, names: Sequence[str]) -> Body:
    found = {name: getattr(row, name) for name in names}
    return {
        name: value if value is None or isinstance(value, int | str | dict) else str(value)
        for name, value in found.items()
    }


def _left_out(things: Sequence[LeftOut]) -> list[Body]:
    """What is not carried over, for the same reason together, with some examples."""
    found: dict[tuple[str, str, str], Body] = {}
    for one in things:
        section = one.where.split(" ")[0]
        told = found.setdefault(
            (section, one.field, one.why),
            {"section": section, "field": one.field, "why": one.why, "count": 0, "examples": []},
        )
        told["count"] += 1
        if len(told["examples"]) < _EXAMPLES:
            told["examples"].append({"where": one.where, "value": one.value})
    return list(found.values())


_FORMAT = parameters.choice("format", "How the file is written.", *_FORMATS)
_IMPORT = (_FORMAT, parameters.flag("apply", "Do it; without, only tell what would be done."))

ROUTES = (
    # What it would do may be asked with a token that only reads.
    Route(
        "POST",
        "/ipam/v1/import",
        bring_in,
        right=Right.OPERATE,
        writes=False,
        largest=LARGEST_FILE,
        query=_IMPORT,
        answer=report_schemas.ImportOutcome,
    ),
    Route(
        "GET",
        "/ipam/v1/export",
        bring_out,
        right=Right.LOOK,
        query=(_FORMAT,),
        documents=("text/csv", "application/json"),
    ),
)

"""Usage of all customers for whoever writes the invoices, and what elastic addresses cost."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from service.admin import billing_schemas
from service.api.call import Body, Call, Document, Route
from service.api.links import stamp
from service.api.models import Request, read
from service.api.parameters import Parameter, choice
from service.api.problems import Invalid, shown
from service.api.usage_routes import line_object, usages
from service.metering import all_lines, month_of
from service.policy import Right
from service.store.usage import uses
from sql.loader import Q

_COLUMNS = ("id", "type", "name", "plan", "facility", "from", "until", "seconds", "unit", "quantity", "price", "total")


class AddressPrice(Request):
    """What an elastic address costs an hour from now on."""

    type: Literal["public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4"]
    hour: Annotated[Decimal, Field(ge=0, lt=100_000, max_digits=11, decimal_places=6)]


async def export(call: Call) -> Body | Document:
    """GET /admin/v1/usages: what each organization has used in a month, as JSON or, with `format=csv`, as a table

    A month that is not over is told up to now.
    """
    now = call.api.clock.now()
    month = call.word("month") or f"{now:%Y-%m}"
    try:
        after, before = month_of(month)
    except ValueError:
        raise Invalid(f"month is not valid: {shown(month)}; a month is written 2026-03") from None
    if (way := call.word("format") or "json") not in ("json", "csv"):
        raise Invalid(f"format is not valid: {shown(way)} is neither json nor csv")
    names = {row["id"]: row["name"] for row in await call.db.fetch(Q["organization_names"])}
    organization_id = None
    if (named := call.word("organization")) is not None:
        found = [id_ for id_, name in names.items() if named in (str(id_), name)]
        if len(found) != 1:
            raise Invalid(f"organization is not valid: {len(found)} are named {shown(named)}")
        organization_id = found[0]
    before = min(before, now)
    lines = all_lines(await uses(call.db, after, before, organization_id=organization_id), after, before)
    rows = [
        {
            "organization_id": str(line.use.organization_id),
            "organization": names[line.use.organization_id],
            "project_id": str(line.use.project_id),
            "project": line.use.project,
            **line_object(line),
        }
        for line in lines
    ]
    if way == "json":
        return {"month": month, **usages(lines), "usages": rows}
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["organization_id", "organization", "project_id", "project", *_COLUMNS], extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return Document(text.getvalue(), "text/csv")


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is told to be text by an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


async def address_prices(call: Call) -> Body:
    """GET /admin/v1/address-prices: what an elastic address of each type costs an hour, and what it cost before"""
    rows = await call.db.fetch(Q["address_prices"])
    return {
        "address_prices": [
            {"type": row["type"], "hour": float(row["hourly"]), "since": stamp(row["since"]), "set_by": row["set_by"]}
            for row in rows
        ]
    }


async def set_address_price(call: Call) -> Body:
    """POST /admin/v1/address-prices: a price of elastic addresses from now on; what was used keeps its own"""
    wish = read(AddressPrice, call.body)
    await call.db.execute(Q["set_address_price"], wish.type, wish.hour, call.api.clock.now(), call.caller.actor)
    return await address_prices(call)


ROUTES = (
    Route(
        "GET",
        "/admin/v1/usages",
        export,
        answer=billing_schemas.MonthUsages,
        right=Right.LOOK,
        query=(
            Parameter("organization", "Of this organization alone, by id or name."),
            Parameter("month", "The month, written 2026-03; this month where it is left out."),
            choice("format", "How the answer is written.", "json", "csv"),
        ),
        documents=("text/csv",),
    ),
    Route(
        "GET",
        "/admin/v1/address-prices",
        address_prices,
        objects="address_prices",
        right=Right.LOOK,
        answer=billing_schemas.AddressPriceSince,
    ),
    Route(
        "POST",
        "/admin/v1/address-prices",
        set_address_price,
        status=201,
        objects="address_prices",
        right=Right.OPERATE,
        body=AddressPrice,
        answer=billing_schemas.AddressPriceSince,
    ),
)

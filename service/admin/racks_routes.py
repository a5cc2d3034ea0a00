"""Racks as a table: what an import would change, carrying it out, and the table of what is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import asyncpg
from pydantic import Field

from ipam.errors import IpamError
from service import racks_csv
from service.admin import place_schemas
from service.admin.enrol import EnrolmentRefused, Inventory, LeafEntry, MachineEntry, PortEntry, enrol
from service.admin.racks_plan import Change, Plan, Recorded, changes_of, counted
from service.api.call import Body, Call, Document, Route
from service.api.models import Strict, read
from service.api.parameters import Parameter
from service.api.problems import Invalid
from service.policy import Right
from service.racks_csv import MOST_ERRORS, Row, write
from service.secrets import KeyRing, SecretUnreadable, open_sealed
from service.store.acting import for_show
from service.store.rows import Connection, Pool
from sql.loader import Q


class Table(Strict):
    """A table of racks: comma-separated values with a header. `passwords` are of BMCs, by the machine's name."""

    csv: Annotated[str, Field(min_length=1)]
    passwords: Annotated[dict[str, str], Field(default_factory=dict)]
    dry_run: bool = False


async def import_racks(call: Call) -> Body:
    """POST /admin/v1/inventory/csv: bring racks in by a table, or with `dry_run` only tell what would be done"""
    wish = read(Table, call.body)
    if wish.dry_run:
        for_show()
    rows, faults = await asyncio.to_thread(racks_csv.read, wish.csv)
    if faults:
        raise Invalid(*(str(fault) for fault in faults))
    rows = _with_passwords(rows, wish.passwords)
    async with call.db.acquire() as conn, conn.transaction():
        known = await recorded(conn, call.api.key, sorted({row.facility for row in rows}), rows)
        changes, faults = await asyncio.to_thread(changes_of, rows, known)
        if faults:
            found = sorted(faults, key=lambda fault: (fault.line, fault.column))
            raise Invalid(*(str(fault) for fault in found[:MOST_ERRORS]))
        if not wish.dry_run:
            moving = {change.line for change in changes if change.act != "leave"}
            await _carry_out(call, conn, [row for row in rows if row.line in moving], known)
    return {"dry_run": wish.dry_run, "counts": counted(changes), "changes": [_told(one) for one in changes]}


def _with_passwords(rows: Sequence[Row], passwords: dict[str, str]) -> list[Row]:
    if unknown := sorted(passwords.keys() - {row.machine for row in rows}):
        raise Invalid(f"passwords is not valid: {unknown[0]!r} is no machine of the table")
    return [
        Row(
            **{name: getattr(row, name) for name in Row.__dataclass_fields__} | {"bmc_password": passwords[row.machine]}
        )
        if row.machine in passwords
        else row
        for row in rows
    ]


def _told(one: Change) -> Body:
    fields = {name: {"before": before, "after": after} for name, (before, after) in one.fields.items()}
    return {"line": one.line, "kind": one.kind, "name": one.name, "act": one.act, "fields": fields}


async def _carry_out(call: Call, conn: Connection, rows: Sequence[Row], known: Recorded) -> None:
    for facility in sorted({row.facility for row in rows}):
        mine = [row for row in rows if row.facility == facility]
        inventory = Inventory.model_construct(
            facility=facility,
            leaves=[_leaf(row) for row in mine if row.kind == "leaf"],
            machines=[_machine(row, known) for row in mine if row.kind == "machine"],
            ports=[_port(row) for row in mine if row.kind == "port"],
        )
        try:
            await enrol(conn, inventory, call.api, by=call.caller.actor)
        except (EnrolmentRefused, IpamError) as err:
            raise Invalid(str(err)) from None
        except asyncpg.UniqueViolationError as err:
            raise Invalid(str(err.detail)) from None


# The rows have been looked at, column by column: the models need not do it again.


def _leaf(row: Row) -> LeafEntry:
    return LeafEntry.model_construct(
        name=row.leaf,
        host=row.host or "",
        port=row.netconf_port or 830,
        username=row.username or "",
        password=row.password or "",
        private_key=row.private_key or "",
        host_key=row.host_key or "",
        rack=row.rack,
        unit=row.unit,
    )


def _machine(row: Row, known: Recorded) -> MachineEntry:
    there = known.machines.get(row.machine or "", {})
    return MachineEntry.model_construct(
        name=row.machine or "",
        plan=row.plan or "",
        mac=row.mac or "",
        arch=cast("Literal['amd64', 'arm64']", row.arch or there.get("arch", "amd64")),
        secure_boot=there.get("secure_boot", False) if row.secure_boot is None else row.secure_boot,
        leaf=row.leaf,
        port=row.port or "",
        bmc_url=row.bmc_url or "",
        bmc_username=row.bmc_username or "",
        bmc_password=row.bmc_password,
        burn_in_minutes=row.burn_in_minutes or 0,
        rack=row.rack,
        unit=row.unit,
    )


def _port(row: Row) -> PortEntry:
    return PortEntry.model_construct(
        leaf=row.leaf,
        port=row.port or "",
        rack=row.rack,
        unit=row.unit,
        bmc_url=row.bmc_url,
        bmc_username=row.bmc_username or "",
        bmc_password=row.bmc_password,
    )


async def recorded(
    db: Connection | Pool, key: KeyRing, facilities: list[str] | None, rows: Sequence[Row] = ()
) -> Recorded:
    """What is on record at these facilities, and of the whole provider what may be in the way of the rows."""
    machines = {row["machine"]: dict(row) for row in await db.fetch(Q["machines_on_record"], None)}
    leaves = {row["leaf"]: dict(row) for row in await db.fetch(Q["leaves_on_record"], None)}
    ports = {(row["leaf"], row["port"]): dict(row) for row in await db.fetch(Q["free_ports_on_record"], facilities)}
    named = await db.fetch(Q["plans_and_racks"])
    plans: dict[str, Plan] = {}
    for row in (row for row in named if row["kind"] == "plan"):
        plan = Plan(row["name"], row["units"], row["nodes"])
        plans |= dict.fromkeys((row["name"], *row["aliases"]), plan)
    sealed: list[tuple[tuple[object, str], bytes | None]] = []
    for asked_for in rows:
        if asked_for.bmc_password is not None and asked_for.machine in machines:
            sealed.append(((asked_for.machine, "bmc_password"), machines[asked_for.machine]["bmc_secret"]))
        elif asked_for.bmc_password is not None and (at := (asked_for.leaf, str(asked_for.port))) in ports:
            sealed.append(((at, "bmc_password"), ports[at]["secret"]))
        elif asked_for.password is not None and asked_for.leaf in leaves:
            sealed.append(((asked_for.leaf, "password"), leaves[asked_for.leaf]["secret"]))
        elif asked_for.private_key is not None and asked_for.leaf in leaves:
            sealed.append(((asked_for.leaf, "private_key"), leaves[asked_for.leaf]["private_key"]))
    return Recorded(
        machines=machines,
        leaves=leaves,
        ports=ports,
        plans=plans,
        racks={(row["facility"], row["name"]): row["units"] for row in named if row["kind"] == "rack"},
        facilities=frozenset(row["name"] for row in named if row["kind"] == "facility"),
        secrets={name: text for name, blob in sealed if (text := _opened(key, blob)) is not None},
    )


def _opened(key: KeyRing, blob: bytes | None) -> str | None:
    if not blob:
        return None
    try:
        return open_sealed(key, blob)
    except SecretUnreadable:
        return None


async def export_racks(call: Call) -> Document:
    """GET /admin/v1/inventory/csv: the table of what is on record, without secrets, as the import takes it"""
    facilities = call.words("facility")
    rows: list[Row] = []
    for query in ("leaves_on_record", "machines_on_record", "free_ports_on_record"):
        for row in await call.db.fetch(Q[query], facilities):
            rows.append(_row(len(rows) + 2, dict(row)))
    return Document(write(rows), "text/csv")


def _row(line: int, row: dict[str, Any]) -> Row:
    return Row(line=line, **{name: value for name, value in row.items() if name in Row.__dataclass_fields__})


_FACILITY = Parameter("facility", "At one of these facilities, by code.", many=True)

ROUTES = (
    Route(
        "POST",
        "/admin/v1/inventory/csv",
        import_racks,
        right=Right.FACILITY,
        body=Table,
        answer=place_schemas.TableOutcome,
    ),
    Route(
        *("GET", "/admin/v1/inventory/csv", export_racks),
        right=Right.LOOK,
        query=(_FACILITY,),
        documents=("text/csv",),
    ),
)

"""The address manager's own CSV: everything that an import can carry, one row a thing. Pure.

RFC 4180 with a header, UTF-8, in any order of rows and columns. What is empty is not given: it has its default where
something is added, and stays as it is where it is there. The columns, and the kinds of rows that use them:

    kind          vrf, prefix, address, asn-pool or asn
    vrf           vrf, prefix, address: name of the VRF, by default `default`
    cidr          prefix: the prefix; address: the block that is held, 203.0.113.4/31 or 203.0.113.7
    role          prefix: container, public, private … (see ipam.prefixes.ROLES)
    facility      prefix, asn-pool: code of the facility, by default all
    block_length  prefix: mask length of what it hands out; by default what the role needs
    status        prefix: active, draining or frozen, by default active
    description   prefix, address
    owner         prefix: organization:ID or project:ID, by default the provider; address, asn: id of the holder, by
                  default one that follows from the block or number
    slot          address, asn: what the holder holds it as, by default `imported`
    project       address: id of the customer's project
    name          asn-pool: its name
    asns          asn-pool: 64512-65534; asn: the number
    note          address, asn: a JSON object, what the ledger says beside
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ipam.exchange.rows import (
    DEFAULT_VRF,
    IMPORTED,
    LAST_ASN,
    AddressRow,
    AsnRow,
    BadSource,
    BadValue,
    PoolRow,
    PrefixRow,
    Row,
    Source,
    VrfRow,
    Wish,
    as_block_length,
    as_network,
    as_number,
    as_owner,
    as_pool,
    as_role,
    as_status,
    as_uuid,
    default_block_length,
    imported_owner,
    shown,
    storable,
)

_USED_BY: Mapping[str, tuple[str, ...]] = {
    "kind": ("vrf", "prefix", "address", "asn-pool", "asn"),
    "vrf": ("vrf", "prefix", "address"),
    "cidr": ("prefix", "address"),
    "role": ("prefix",),
    "facility": ("prefix", "asn-pool"),
    "block_length": ("prefix",),
    "status": ("prefix",),
    "description": ("prefix", "address"),
    "owner": ("prefix", "address", "asn"),
    "slot": ("address", "asn"),
    "project": ("address",),
    "name": ("asn-pool",),
    "asns": ("asn-pool", "asn"),
    "note": ("address", "asn"),
}
COLUMNS = tuple(_USED_BY)
_VERBATIM = ("vrf", "facility", "description", "slot")  # text whose blanks may mean something
# Which columns say something of a row's field, where a line may be silent.
_SAID_BY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "prefix": {name: (name,) for name in ("facility", "block_length", "status", "description", "owner")},
    "address": {"project_id": ("project",), "note": ("note", "description")},
    "asn": {"note": ("note",)},
}


class _Cells:
    """One line's cells; what is wrong with one is told with the line and the column's name."""

    def __init__(self, where: str, cells: Mapping[str, str], problems: list[str]) -> None:
        self.where = where
        self._cells = cells
        self._problems = problems

    def text(self, column: str) -> str:
        """The cell, or nothing."""
        return self._cells.get(column, "")

    def silent(self) -> frozenset[str]:
        """The row's fields that the line says nothing of."""
        fields = _SAID_BY.get(self.text("kind"), {})
        return frozenset(field for field, columns in fields.items() if not any(map(self.text, columns)))

    def read(self, column: str, parse: Callable[[str], Any], default: Any = None, *, needed: bool = False) -> Any:
        """The cell's value; None, and a problem told, when it is not allowed or is needed and empty."""
        text = self.text(column)
        if not text:
            if needed:
                self.problem(column, "can't be blank")
            return default
        try:
            return parse(text)
        except BadValue as err:
            return self.problem(column, str(err))

    def problem(self, column: str, text: str) -> None:
        """Tell what is wrong."""
        self._problems.append(f"{self.where}: {column}: {text}")


def parse(content: bytes) -> Source:
    """The rows of a CSV file. Raises BadSource, which names line, column, value and what is allowed."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise BadSource([f"line {line}: the file is not UTF-8"]) from None
    problems: list[str] = []
    wishes = list(_wishes(text, problems))
    if problems:
        raise BadSource(problems)
    named = {wish.row.name for wish in wishes if isinstance(wish.row, VrfRow)}
    if DEFAULT_VRF not in named and any(
        isinstance(wish.row, PrefixRow | AddressRow) and wish.row.vrf == DEFAULT_VRF for wish in wishes
    ):
        wishes.append(Wish("default", VrfRow(DEFAULT_VRF)))
    return Source(wishes)


def _wishes(text: str, problems: list[str]) -> Iterator[Wish]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    first = 1
    try:
        for cells in reader:
            where, first = f"line {first}", reader.line_num + 1
            if not any(cells):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                if told := _wrong_header(columns):
                    problems.append(f"{where}: {told}")
                    return
                continue
            if len(cells) > len(columns):
                problems.append(f"{where}: there are {len(cells)} cells, and {len(columns)} columns")
                continue
            given = dict(zip(columns, cells, strict=False))
            found = _Cells(where, {name: _bare(name, cell) for name, cell in given.items()}, problems)
            if (row := _row(found)) is not None:
                yield Wish(where, row, silent=found.silent())
    except csv.Error as err:
        problems.append(f"line {reader.line_num}: the file is no CSV: {err}")
    if not columns and not problems:
        problems.append("line 1: there is no header")


def _bare(column: str, cell: str) -> str:
    return cell if column in _VERBATIM else cell.strip()


def _wrong_header(columns: list[str]) -> str | None:
    allowed = f"allowed are {', '.join(COLUMNS)}"
    if unknown := [column for column in columns if column not in _USED_BY]:
        return f"{shown(unknown[0])} is no column; {allowed}"
    if doubled := [column for place, column in enumerate(columns) if column in columns[:place]]:
        return f"the column {doubled[0]} is there twice"
    return None if "kind" in columns else f"the column kind is missing; {allowed}"


def _row(cells: _Cells) -> Row | None:
    kind = cells.text("kind")
    if kind not in _ROWS:
        cells.problem("kind", f"{shown(kind)} is no kind; allowed are {', '.join(_ROWS)}")
        return None
    sound = True
    for column, kinds in _USED_BY.items():
        text = cells.text(column)
        if text and kind not in kinds:
            cells.problem(column, f"{shown(text)}: a row of kind {kind} has none")
            sound = False
        sound &= cells.read(column, _storable, "") is not None
    return _ROWS[kind](cells) if sound else None


def _storable(text: str) -> str:
    storable(text)
    return text


def _vrf(cells: _Cells) -> Row | None:
    name = cells.read("vrf", str, needed=True)
    return None if name is None else VrfRow(name)


def _prefix(cells: _Cells) -> Row | None:
    cidr = cells.read("cidr", as_network, needed=True)
    role = cells.read("role", as_role, needed=True)
    status = cells.read("status", as_status, "active")
    owner = cells.read("owner", as_owner)
    if cidr is None or role is None or status is None or (owner is None and cells.text("owner")):
        return None
    default = default_block_length(role, cidr)
    length = cells.read("block_length", lambda text: as_block_length(text, cidr), default)
    if length is None:
        return None
    return PrefixRow(
        vrf=cells.text("vrf") or DEFAULT_VRF,
        cidr=cidr,
        role=role,
        facility=cells.text("facility") or None,
        block_length=length,
        status=status,
        description=cells.text("description"),
        owner=owner,
    )


def _address(cells: _Cells) -> Row | None:
    block = cells.read("cidr", as_network, needed=True)
    note = cells.read("note", _note, {})
    project = cells.read("project", as_uuid)
    if block is None or note is None or (project is None and cells.text("project")):
        return None
    vrf = cells.text("vrf") or DEFAULT_VRF
    owner = cells.read("owner", as_uuid, imported_owner(f"{block} in VRF {vrf}"))
    if owner is None:
        return None
    if text := cells.text("description"):
        if "description" in note:
            cells.problem("note", "the description stands in its own column")
            return None
        note = {**note, "description": text}
    return AddressRow(vrf, block, owner, cells.text("slot") or IMPORTED, project, note)


def _pool(cells: _Cells) -> Row | None:
    facility = cells.text("facility") or None

    def made(text: str) -> PoolRow:
        first, dash, last = text.partition("-")
        if not dash:
            raise BadValue(f"{shown(text)} is no range; allowed is FIRST-LAST, 64512-65534 for one")
        return as_pool(cells.text("name"), as_number(first, LAST_ASN), as_number(last, LAST_ASN), facility)

    pool: PoolRow | None = cells.read("asns", made, needed=True)
    return pool


def _asn(cells: _Cells) -> Row | None:
    asn = cells.read("asns", _one_asn, needed=True)
    note = cells.read("note", _note, {})
    if asn is None or note is None:
        return None
    owner = cells.read("owner", as_uuid, imported_owner(f"AS{asn}"))
    return None if owner is None else AsnRow(asn, owner, cells.text("slot") or IMPORTED, note)


def _one_asn(text: str) -> int:
    if (asn := as_number(text, LAST_ASN)) == 0:
        raise BadValue(f"0 is no AS number; allowed are 1 to {LAST_ASN}")
    return asn


def _note(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadValue(f"{shown(text)} is no JSON") from None
    if not isinstance(found, dict):
        raise BadValue(f"{shown(text)} is no JSON object")
    storable(found)
    return found


_ROWS: Mapping[str, Callable[[_Cells], Row | None]] = {
    "vrf": _vrf,
    "prefix": _prefix,
    "address": _address,
    "asn-pool": _pool,
    "asn": _asn,
}


class Printer:
    """Writes a file row by row. What is the default is written all the same, so that a file says all by itself."""

    def begin(self) -> str:
        """The header."""
        return ",".join(COLUMNS) + "\n"

    def row(self, row: Row) -> str:
        """A row's line."""
        text = io.StringIO()
        # The writer quotes what is part of its line end only, and a reader takes a bare CR for one, too.
        csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n").writerow(_cells(row))
        return text.getvalue().removesuffix("\r\n") + "\n"

    def end(self) -> str:
        """Nothing."""
        return ""


def _cells(row: Row) -> dict[str, object]:
    if isinstance(row, VrfRow):
        return {"kind": "vrf", "vrf": row.name}
    if isinstance(row, PrefixRow):
        return {
            "kind": "prefix",
            "vrf": row.vrf,
            "cidr": row.cidr,
            "role": row.role,
            "facility": row.facility,
            "block_length": row.block_length,
            "status": row.status,
            "description": row.description,
            "owner": row.owner,
        }
    if isinstance(row, AddressRow):
        description, note = _described(row.note)
        return {
            "kind": "address",
            "vrf": row.vrf,
            "cidr": row.block,
            "description": description,
            "owner": row.owner,
            "slot": row.slot,
            "project": row.project_id,
            "note": _json(note),
        }
    if isinstance(row, PoolRow):
        asns = f"{row.first}-{row.last}"
        return {"kind": "asn-pool", "name": row.name, "asns": asns, "facility": row.facility}
    return {"kind": "asn", "asns": row.asn, "owner": row.owner, "slot": row.slot, "note": _json(row.note)}


def _described(note: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The note's description, which has a column of its own if it is text."""
    text = note.get("description")
    if isinstance(text, str) and text:
        return text, {name: value for name, value in note.items() if name != "description"}
    return "", note


def _json(note: Mapping[str, Any]) -> str:
    return json.dumps(note, sort_keys=True, ensure_ascii=False, separators=(",", ":")) if note else ""

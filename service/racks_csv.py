"""Racks as a table of comma-separated values (RFC 4180), with a header line: read with every fault named, and written.

A line is a machine when it has one in the column `machine`; a leaf when it has a `host`; else a free port, at which a
machine may be found that nobody has enrolled. Pure.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal
from urllib.parse import urlsplit

from service.spellings import HARDWARE, MAC, PORT, RACK

Kind = Literal["leaf", "machine", "port"]

MOST_ERRORS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. What is empty in it is None, and stays as it is where the thing exists."""

    line: int
    facility: str = ""
    rack: str | None = None
    unit: int | None = None  # the lowest one that it takes
    machine: str | None = None
    plan: str | None = None
    mac: str | None = None
    arch: str | None = None
    secure_boot: bool | None = None
    leaf: str = ""
    port: str | None = None
    bmc_url: str | None = None
    bmc_username: str | None = None
    bmc_password: str | None = None
    burn_in_minutes: int | None = None
    host: str | None = None
    netconf_port: int | None = None
    username: str | None = None
    password: str | None = None
    private_key: str | None = None
    host_key: str | None = None

    @property
    def kind(self) -> Kind:
        """What the line is about."""
        if self.machine is not None:
            return "machine"
        return "leaf" if self.host is not None else "port"

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.machine or (self.leaf if self.port is None else f"{self.leaf} {self.port}")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the table, and where. `column` is empty where it is the line."""

    line: int
    column: str
    words: str

    def __str__(self) -> str:
        place = f"line {self.line}" + (f", column {self.column}" if self.column else "")
        return f"{place}: {self.words}"


def _name(text: str) -> str:
    return _matching(text, HARDWARE, "lower-case letters, digits, dots and hyphens")


def _matching(text: str, pattern: str, allowed: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(allowed)
    return text


def _rack(text: str) -> str:
    return _matching(text, RACK, "letters, digits, dots, hyphens and underscores")


def _mac(text: str) -> str:
    return _matching(text.lower().replace("-", ":"), MAC, "six bytes, as 02:52:48:00:00:01")


def _port(text: str) -> str:
    return _matching(text, PORT, "a port of a leaf, as xe-0/0/7")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def _yes(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


def _url(text: str) -> str:
    found = urlsplit(text)
    if found.scheme not in ("http", "https", "ipmi") or not found.netloc:
        raise ValueError("a URL that begins with https://, http:// or ipmi://")
    return text


def _text(text: str) -> str:
    return text


COLUMNS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "facility": (_text, "code of the facility, as ewr1; on every line"),
    "rack": (_rack, "the rack's name; made where it is not there"),
    "unit": (_whole(1, 100), "lowest unit of the rack that it takes"),
    "machine": (_name, "the machine's name; empty on a line for a leaf or a free port"),
    "plan": (_text, "slug of the machine's plan"),
    "mac": (_mac, "the card that it boots from"),
    "arch": (_one_of("amd64", "arm64"), "amd64 (what an empty cell means) or arm64"),
    "secure_boot": (_yes, "yes or no: whether its firmware starts signed programs only"),
    "leaf": (_name, "the leaf that its cable ends in, or the leaf that the line is about; on every line"),
    "port": (_port, "the leaf's port that its cable ends in"),
    "bmc_url": (_url, "its BMC"),
    "bmc_username": (_text, "who we are there"),
    "bmc_password": (_text, "and the password; never written out"),
    "burn_in_minutes": (_whole(0, 1200), "how long a new machine is burnt in before it comes to the pool; empty: not"),
    "host": (_text, "of a leaf: address or name of its NETCONF server"),
    "netconf_port": (_whole(1, 65535), "of a leaf: its port, 830 where empty"),
    "username": (_text, "of a leaf: who we are there"),
    "password": (_text, "of a leaf: the password, or else a private key; never written out"),
    "private_key": (_text, "of a leaf: an OpenSSH key without a passphrase; never written out"),
    "host_key": (_text, "of a leaf: the SSH host key that it must show"),
}
SECRETS = ("bmc_password", "password", "private_key")
_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "machine": ("facility", "plan", "mac", "leaf", "port", "bmc_url", "bmc_username"),
    "leaf": ("facility", "leaf", "host", "username", "host_key"),
    "port": ("facility", "leaf", "port"),
}
_NOT_OF: Mapping[Kind, tuple[str, ...]] = {
    "machine": ("host", "netconf_port", "username", "password", "private_key", "host_key"),
    "leaf": ("plan", "mac", "arch", "port", "bmc_url", "bmc_username", "bmc_password", "burn_in_minutes"),
    "port": ("plan", "mac", "arch", "burn_in_minutes", "netconf_port", "username", "password", "host_key"),
}


def read(text: str) -> tuple[list[Row], list[Fault]]:
    """The table's rows, and all that is wrong with it; at most MOST_ERRORS faults."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    rows: list[Row] = []
    faults: list[Fault] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if wrong := _header_faults(header):
            return [], wrong
        for cells in reader:
            if len(faults) >= MOST_ERRORS:
                break
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            row, found = _row(header, cells, reader.line_num)
            faults += found
            if row is not None:
                rows.append(row)
    except csv.Error as err:
        faults.append(Fault(reader.line_num, "", f"it is no line of comma-separated values: {err}"))
    return rows, (faults + _doubled(rows))[:MOST_ERRORS]


def _header_faults(header: list[str]) -> list[Fault]:
    unknown = [Fault(1, name, f"{name!r} is no column; allowed are {', '.join(COLUMNS)}") for name in header]
    faults = [fault for fault in unknown if fault.column not in COLUMNS]
    faults += [Fault(1, name, "it is there twice") for name in COLUMNS if header.count(name) > 1]
    faults += [Fault(1, name, "it is missing from the header") for name in ("facility", "leaf") if name not in header]
    return faults


def _row(header: list[str], cells: list[str], line: int) -> tuple[Row | None, list[Fault]]:
    if len(cells) > len(header):
        return None, [Fault(line, "", f"it has {len(cells)} cells, the header {len(header)}")]
    values: dict[str, Any] = {}
    faults = []
    for name, cell in zip(header, cells, strict=False):
        if not (value := cell.strip()):
            continue
        try:
            values[name] = COLUMNS[name][0](value)
        except ValueError as err:
            said = "its value" if name in SECRETS else repr(value)
            faults.append(Fault(line, name, f"{said} is not valid; allowed is {err}"))
            values[name] = None  # it is there, whatever it was to say
    row = Row(line=line, **values)
    faults += [
        Fault(line, name, f"it can't be empty for a {row.kind}") for name in _NEEDED[row.kind] if name not in values
    ]
    faults += [Fault(line, name, f"it must be empty for a {row.kind}") for name in _NOT_OF[row.kind] if name in values]
    if row.kind == "port" and (row.bmc_url is None) != (row.bmc_username is None):
        faults.append(Fault(line, "bmc_url", "bmc_url and bmc_username of a free port go together"))
    if row.unit is not None and row.rack is None:
        faults.append(Fault(line, "unit", "a unit needs a rack"))
    return (None if faults else row), faults


def _doubled(rows: Iterable[Row]) -> list[Fault]:
    """What two lines say of one thing."""
    seen: dict[tuple[str, object], int] = {}
    faults = []
    for row in rows:
        leaf = row.leaf if row.kind == "leaf" else None
        at = None if row.port is None else (row.leaf, row.port)
        for column, value in (("machine", row.machine), ("mac", row.mac), ("port", at), ("leaf", leaf)):
            if value is None:
                continue
            if (first := seen.setdefault((column, value), row.line)) != row.line:
                said = " ".join(value) if isinstance(value, tuple) else value
                faults.append(Fault(row.line, column, f"{said!r} is on line {first}, too"))
    return faults


def write(rows: Iterable[Row]) -> str:
    """The table of these rows, without secrets."""
    text = io.StringIO()
    names = [field.name for field in fields(Row) if field.name != "line" and field.name not in SECRETS]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)

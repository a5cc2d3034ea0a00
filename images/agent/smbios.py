"""What the firmware's tables say of the machine (DMTF DSP0134, System Management BIOS). Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_END = 127
_MEMORY_TYPES = {0x12: "DDR", 0x13: "DDR2", 0x18: "DDR3", 0x1A: "DDR4", 0x1E: "LPDDR4", 0x22: "DDR5", 0x23: "LPDDR5"}
_IPMI_INTERFACES = {1: "KCS", 2: "SMIC", 3: "BT", 4: "SSIF"}
# What boards say where nobody wrote anything.
_BLANK = frozenset(
    ("not specified", "to be filled by o.e.m.", "default string", "unknown", "none", "no dimm", "n/a", "not provided")
)


class Malformed(ValueError):
    """The bytes are no SMBIOS table."""


class Structure:
    """One structure: its type, handle, formatted area (with the header) and strings."""

    __slots__ = ("area", "handle", "strings", "type")

    def __init__(self, kind: int, handle: int, area: bytes, strings: list[str]) -> None:
        self.type, self.handle, self.area, self.strings = kind, handle, area, strings

    def number(self, offset: int, size: int) -> int:
        """A number of `size` bytes, little-endian; 0 where the structure is of an older version and ends before it."""
        field = self.area[offset : offset + size]
        return int.from_bytes(field, "little") if len(field) == size else 0

    def text(self, offset: int) -> str:
        """The string whose number stands at `offset`; empty where there is none, or nobody wrote anything."""
        place = self.number(offset, 1)
        text = self.strings[place - 1] if 0 < place <= len(self.strings) else ""
        return "" if text.lower() in _BLANK else text


def structures(table: bytes) -> Iterator[Structure]:
    """All structures of a table (DSP0134 §6.1). Raises Malformed."""
    at = 0
    while at < len(table):
        if at + 4 > len(table):
            raise Malformed(f"the table ends in a header at {at}")
        kind, length, handle = table[at], table[at + 1], int.from_bytes(table[at + 2 : at + 4], "little")
        if length < 4 or at + length > len(table):
            raise Malformed(f"a structure of type {kind} at {at} has a length of {length}")
        area = table[at : at + length]
        end = table.find(b"\0\0", at + length)
        if end < 0:
            raise Malformed(f"the strings of a structure of type {kind} at {at} have no end")
        raw = table[at + length : end]
        strings = [one.decode("utf-8", "replace").strip() for one in raw.split(b"\0")] if raw else []
        yield Structure(kind, handle, area, strings)
        if kind == _END:
            return
        at = end + 2


def read(table: bytes) -> dict[str, Any]:
    """Firmware, system, board, processors, memory and BMC as plain values. Raises Malformed.

    What is named more than once in a machine is a list; the memory's empty sockets are counted only.
    """
    found: dict[str, Any] = {"processors": [], "dimms": [], "dimm_sockets": 0}
    for one in structures(table):
        if one.type == 0 and "firmware" not in found:
            found["firmware"] = {"vendor": one.text(4), "version": one.text(5), "date": one.text(8)}
        elif one.type == 1 and "system" not in found:
            found["system"] = _system(one)
        elif one.type == 2 and "board" not in found:
            names = ("vendor", "product", "version", "serial")
            found["board"] = {name: one.text(offset) for offset, name in enumerate(names, 4)}
        elif one.type == 4:
            found["processors"] += _processor(one)
        elif one.type == 17:
            found["dimm_sockets"] += 1
            found["dimms"] += _dimm(one)
        elif one.type == 38 and "ipmi" not in found:
            found["ipmi"] = _ipmi(one)
        elif one.type == 43 and "tpm" not in found:
            found["tpm"] = _tpm(one)
    return found


def _system(one: Structure) -> dict[str, str]:
    return {
        "vendor": one.text(4),
        "product": one.text(5),
        "version": one.text(6),
        "serial": one.text(7),
        "uuid": _uuid(one.area[8:24]),
        "sku": one.text(25),
        "family": one.text(26),
    }


def _uuid(raw: bytes) -> str:
    """The first three fields are little-endian (§7.2.1); all ones or all zeros mean that there is none."""
    if len(raw) != 16 or raw in (bytes(16), b"\xff" * 16):
        return ""
    text = (raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _processor(one: Structure) -> list[dict[str, Any]]:
    """§7.5; none where the socket is empty (bit 6 of the status)."""
    if not one.number(24, 1) & 0x40:
        return []
    cores, threads = one.number(35, 1), one.number(37, 1)
    return [
        {
            "socket": one.text(4),
            "vendor": one.text(7),
            "model": one.text(16),
            "max_mhz": one.number(20, 2),
            # 255 refers to the wider field of version 3.0.
            "cores": one.number(42, 2) if cores == 0xFF else cores,
            "threads": one.number(46, 2) if threads == 0xFF else threads,
        }
    ]


def _dimm(one: Structure) -> list[dict[str, Any]]:
    """§7.18; none where the socket is empty."""
    size = one.number(12, 2)
    if size == 0:
        return []
    if size == 0x7FFF:  # too large for the field, which counts MiB, or KiB where its highest bit is set
        count = (one.number(28, 4) & 0x7FFFFFFF) << 20
    else:
        count = (size & 0x7FFF) << 10 if size & 0x8000 else size << 20
    if size == 0xFFFF:  # unknown
        count = 0
    total, data = one.number(8, 2), one.number(10, 2)
    speed, configured = one.number(21, 2), one.number(32, 2)
    return [
        {
            "socket": one.text(16),
            "bank": one.text(17),
            "bytes": count,
            "type": _MEMORY_TYPES.get(one.number(18, 1), ""),
            "ecc": 0xFFFF > total > data > 0,
            "mts": _transfers(one, speed, 84),
            "configured_mts": _transfers(one, configured, 88),
            "vendor": one.text(23),
            "serial": one.text(24),
            "part": one.text(26),
        }
    ]


def _transfers(one: Structure, narrow: int, wide: int) -> int:
    """Megatransfers a second; 0 where unknown. All ones refer to the wider field of version 3.3."""
    return one.number(wide, 4) & 0x7FFFFFFF if narrow == 0xFFFF else narrow


def _ipmi(one: Structure) -> dict[str, Any]:
    """§7.39; the base address' lowest bit tells input/output ports from memory."""
    base = one.number(8, 8)
    return {
        "interface": _IPMI_INTERFACES.get(one.number(4, 1), ""),
        "ipmi": f"{one.number(5, 1) >> 4}.{one.number(5, 1) & 15}",
        "address": f"{'io' if base & 1 else 'memory'} {base & ~1:#x}",
    }


def _tpm(one: Structure) -> dict[str, Any]:
    """§7.44."""
    return {
        "vendor": one.area[4:8].rstrip(b"\0 ").decode("ascii", "replace"),
        "version": f"{one.number(8, 1)}.{one.number(9, 1)}",
        "firmware": f"{one.number(10, 4):08x}.{one.number(14, 4):08x}",
        "description": one.text(18),
    }

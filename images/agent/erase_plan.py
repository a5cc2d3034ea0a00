"""Which methods an erase tries on a disk, in which order, and how long each may take. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Language = Literal["nvme", "ata", "scsi", "block"]
    Leaves = Literal["zeros", "pattern", "unknown"]

_MINUTE, _HOUR = 60.0, 3600.0

# Bytes a second from one end of a disk to the other.
_FLASH_PACE, _SPINNING_PACE = 400e6, 150e6
_SLACK = 3  # a method may take so many times what is expected of it: the disk may be slow, or old, or have neighbours


class Capabilities:
    """What a disk's controller reports of erasing. Estimates are seconds, by method; absent where none is given."""

    __slots__ = (
        *("bytes", "controller_shared", "estimates", "firmware", "language", "methods", "model", "refusals"),
        *("rotational", "serial"),
    )

    def __init__(
        self,
        language: Language,
        size: int,
        rotational: bool,
        methods: frozenset[str] = frozenset(),
        *,
        estimates: Mapping[str, float] | None = None,
        refusals: Mapping[str, str] | None = None,
        controller_shared: bool = False,
        serial: str = "",
        model: str = "",
        firmware: str = "",
    ) -> None:
        self.language, self.bytes, self.rotational, self.methods = language, size, rotational, methods
        self.estimates = estimates or {}
        self.refusals = refusals or {}  # methods that are there, and why they cannot be used now
        self.controller_shared = controller_shared  # with disks that are not to be erased
        self.serial, self.model, self.firmware = serial, model, firmware


class Method:
    """One way to erase a disk.

    `expected_s` and `limit_s` are seconds; `leaves` is what is on the disk afterwards; `refused` says why it is not
    tried at all; `whole` methods take all namespaces of a controller at once.
    """

    __slots__ = ("expected_s", "leaves", "limit_s", "name", "refused", "whole")

    def __init__(self, name: str, leaves: Leaves, expected_s: float, *, whole: bool = False, refused: str = "") -> None:
        self.name, self.leaves, self.expected_s = name, leaves, expected_s
        self.limit_s = max(10 * _MINUTE, _SLACK * expected_s)
        self.whole, self.refused = whole, refused


# Best first: the disk's own way to be rid of everything at once, also of what no address leads to any more. Writing
# from here comes late, for it reaches only what has an address. Formatting is last: it may leave data where it is,
# but finds its way round blocks that cannot be written.
_FLASH_ORDER = (
    *("nvme-sanitize-block", "nvme-sanitize-crypto", "nvme-format-crypto", "nvme-format-erase"),
    *("ata-sanitize-block", "ata-sanitize-crypto", "ata-security-enhanced", "ata-security"),
    *("scsi-sanitize-block", "scsi-sanitize-crypto"),
    "discard-zeroes",
    *("nvme-sanitize-overwrite", "ata-sanitize-overwrite", "scsi-sanitize-overwrite"),
    "overwrite-pattern",
    "scsi-format-unit",
)
# A spinning disk keeps what it has in one place, and whichever way it is overwritten takes hours.
_SPINNING_ORDER = (
    *("nvme-sanitize-crypto", "nvme-format-crypto", "ata-sanitize-crypto", "scsi-sanitize-crypto"),
    *("ata-security-enhanced", "nvme-sanitize-overwrite", "ata-sanitize-overwrite", "scsi-sanitize-overwrite"),
    *("ata-security", "nvme-format-erase"),
    *("discard-zeroes", "overwrite-zeros"),
    "scsi-format-unit",
)

# Zeros that a disk is told to make may be kept as a note only, and the data with it; a pattern has to be written.
_LEAVES: dict[str, Leaves] = {
    "ata-sanitize-overwrite": "zeros",
    "scsi-sanitize-overwrite": "zeros",
    "scsi-format-unit": "zeros",
    "discard-zeroes": "zeros",
    "overwrite-zeros": "zeros",
    "overwrite-pattern": "pattern",
}
_ALWAYS = frozenset({"discard-zeroes", "overwrite-zeros", "overwrite-pattern"})


def plan(found: Capabilities) -> list[Method]:
    """The methods in the order in which they are tried. Never empty: any disk can be overwritten."""
    order = _SPINNING_ORDER if found.rotational else _FLASH_ORDER
    methods = []
    for name in order:
        if name not in found.methods and name not in _ALWAYS:
            continue
        whole = name.startswith("nvme-sanitize")
        refused = found.refusals.get(name, "")
        if whole and found.controller_shared:
            refused = "it would erase a namespace, too, that is not to be erased"
        leaves = _LEAVES.get(name, "unknown")
        methods.append(Method(name, leaves, _expected_s(name, found), whole=whole, refused=refused))
    return methods


def _expected_s(name: str, found: Capabilities) -> float:
    if name in found.estimates:
        return found.estimates[name]
    if name.endswith("crypto"):
        return _MINUTE
    if name.endswith("block"):
        return 5 * _MINUTE
    return found.bytes / (_SPINNING_PACE if found.rotational else _FLASH_PACE)

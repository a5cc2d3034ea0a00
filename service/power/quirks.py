"""What single makes of BMCs do otherwise than DSP0266 says, as rows of data; all else is found out by asking."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """One make's ways. `make` is how the system's Manufacturer or the service's Vendor begins."""

    make: str
    once_reads: tuple[str, ...] = ("Once",)  # what BootSourceOverrideEnabled shows when Once was taken
    mode: str | None = None  # sent with every override, where the resource does not tell the present one


USUAL = Quirk("")
QUIRKS = (
    # The override is kept in a virtual machine's definition, which knows no "once".
    Quirk("Sushy Emulator", once_reads=("Once", "Continuous")),
    # An override without a mode is taken for one of the old BIOS.
    Quirk("Supermicro", mode="UEFI"),
)

# In what form an ETag is sent back as If-Match, in this order, until the BMC takes the change: as it was given, without
# the weakness mark (weak ones never match, RFC 9110 §13.1.1), not at all, and any. 412 and 428 lead to the next.
IF_MATCH = ("given", "strong", "none", "any")

# Which kinds of reset bring a state about, the best first; a BMC tells which of them it knows.
RESETS = {"on": ("On", "ForceOn"), "off": ("ForceOff",)}


def quirk_of(*makers: object) -> Quirk:
    """The row for a manufacturer."""
    for row in QUIRKS:
        if any(isinstance(maker, str) and maker.lower().startswith(row.make.lower()) for maker in makers):
            return row
    return USUAL


def if_match(form: str, etag: str | None) -> dict[str, str] | None:
    """The header in that form; None where the form is that of an earlier one."""
    match form:
        case "given":
            return None if etag is None else {"If-Match": etag}
        case "strong":
            return {"If-Match": etag[2:]} if etag is not None and etag.startswith("W/") else None
        case "any":
            return {"If-Match": "*"}
    return {}

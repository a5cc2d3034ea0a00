"""Erasing by an ATA disk: what it can do and what it hides, the commands in their order, waiting for their end."""

from __future__ import annotations

from images.agent import ata
from images.agent.erase_node import Refused
from images.agent.erase_plan import Capabilities
from images.agent.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.agent.erase_node import Node
    from images.agent.scsi import Command

_POLL_S = 2.0
_SANITIZE = {
    "ata-sanitize-block": ata.BLOCK,
    "ata-sanitize-crypto": ata.CRYPTO,
    "ata-sanitize-overwrite": ata.OVERWRITE,
}
_SECURITY = {"ata-security": False, "ata-security-enhanced": True}
_SANITIZE_REASONS = {
    1: "the last one failed",
    2: "it does not know this one",
    3: "it is frozen until the next power cycle",
}


def identity(node: Node) -> ata.Identity:
    """What the disk tells of itself. Raises Refused, Malformed: not an ATA disk, or not one that can be asked."""
    return ata.Identity(node.scsi(ata.identify()).data)


def look(node: Node, told: ata.Identity) -> Capabilities:
    """What the disk reports of erasing, and what it would refuse as things stand."""
    methods = {name for name, kind in _SANITIZE.items() if kind in told.sanitize}
    refusals: dict[str, str] = {}
    estimates: dict[str, float] = {}
    if told.has_security:
        for name, enhanced in _SECURITY.items():
            if enhanced and not told.has_enhanced:
                continue
            methods.add(name)
            if seconds := told.enhanced_erase_s if enhanced else told.erase_s:
                estimates[name] = float(seconds)
            if told.security_frozen:
                refusals[name] = "security is frozen by the firmware until the next power cycle"
            elif told.security_expired:
                refusals[name] = "wrong passwords have been tried too often since the last power cycle"
    if told.sanitize and (why := _why_no_sanitize(node)):
        refusals |= {name: why for name in _SANITIZE if name in methods}
    return Capabilities(
        "ata",
        node.disk.bytes,
        told.rotational,
        frozenset(methods),
        estimates=estimates,
        refusals=refusals,
        serial=told.serial,
        model=told.model,
        firmware=told.firmware,
    )


def _why_no_sanitize(node: Node) -> str:
    try:
        frozen = _status(node).sanitize_frozen
    except Refused as err:
        return f"it could not be watched: {err}"
    return "sanitize is frozen by the firmware until the next power cycle" if frozen else ""


def uncover(node: Node, told: ata.Identity) -> list[str]:
    """Make reachable what lies behind the last address that the disk owns up to; what was found, for the certificate.

    Raises Refused where something is hidden and stays so.
    """
    found = []
    if told.has_accessible_max or told.has_protected_area:
        found += _uncover_protected_area(node, told)
    if told.has_configuration:
        found += _uncover_configuration(node)
    return found


def _uncover_protected_area(node: Node, told: ata.Identity) -> list[str]:
    modern = told.has_accessible_max
    try:
        last = _registers(node, ata.native_max(accessible=modern)).lba
    except Refused as err:
        return [f"whether there is a host protected area is not known: {err}"]
    if last + 1 <= told.sectors:
        return []
    hidden = (last + 1 - told.sectors) * told.sector_bytes
    if not modern:
        _registers(node, ata.native_max(accessible=False))  # SET MAX must come right after it (ATA8-ACS 7.53.2)
    _registers(node, ata.set_max(last, accessible=modern))
    _see_all(node, last + 1)
    return [f"a host protected area of {hidden} bytes was taken back"]


def _uncover_configuration(node: Node) -> list[str]:
    try:
        sectors = ata.configured_sectors(node.scsi(ata.configuration()).data)
    except (Refused, Malformed) as err:
        return [f"whether the device configuration hides anything is not known: {err}"]
    now = identity(node)
    if sectors <= now.sectors:
        return []
    _registers(node, ata.restore_configuration())
    _see_all(node, sectors)
    return [f"the device configuration, which hid {(sectors - now.sectors) * now.sector_bytes} bytes, was restored"]


def _see_all(node: Node, sectors: int) -> None:
    node.rescan()
    now = identity(node)
    if now.sectors < sectors or node.disk.bytes < sectors * now.sector_bytes:
        raise Refused(f"{sectors} sectors are there, {now.sectors} of them can be reached")


def has_password(node: Node) -> bool:
    """Whether somebody's password will lock the disk at the next power cycle. Raises Refused, Malformed."""
    return identity(node).security_enabled


def under_way(node: Node, told: ata.Identity) -> str:
    """The method that was begun before the last power cut and goes on by itself; empty: none that can be seen."""
    try:
        return "ata-sanitize" if told.sanitize and _status(node).sanitizing else ""
    except Refused:
        return ""


def run(node: Node, name: str, limit_s: float, tell: Callable[[float], None]) -> None:
    """Carry a method out; `tell` hears how much is done, from 0 to 1. Raises Refused, Malformed."""
    if name in _SANITIZE:
        _registers(node, ata.sanitize(_SANITIZE[name]), reasons=_SANITIZE_REASONS)
        wait(node, tell)
    else:
        _erase_by_password(node, limit_s, enhanced=_SECURITY[name])


def _erase_by_password(node: Node, limit_s: float, *, enhanced: bool) -> None:
    # A disk that has a password already has ours from a try that was cut off, or a customer's: the erase tells.
    if not identity(node).security_enabled:
        _send(node, ata.set_password())
    try:
        _send(node, ata.erase_prepare())
        _send(node, ata.erase_unit(enhanced=enhanced), limit_s)
    except Refused:
        now = identity(node)
        if now.security_locked:
            raise Refused("the disk is locked by a password that is not ours") from None
        if now.security_enabled:
            _send(node, ata.disable_password())
        raise
    if identity(node).security_enabled:
        _send(node, ata.disable_password())


def wait(node: Node, tell: Callable[[float], None]) -> None:
    """Until a sanitize has ended. Raises Refused when it failed."""
    while (status := _status(node)).sanitizing:
        tell(status.progress)
        node.pause(_POLL_S)
    if not status.sanitized:
        _registers(node, ata.sanitize_status(leave_failure=True))
        raise Refused("the disk began and could not end it")


def _status(node: Node) -> ata.Registers:
    return _registers(node, ata.sanitize_status())


def _send(node: Node, command: Command, limit_s: float = 0) -> None:
    answer = node.scsi(command, limit_s)
    if answer.sense and answer.sense.ata:
        _raise_on_failure(ata.Registers(answer.sense.ata), {})


def _registers(node: Node, command: Command, *, reasons: dict[int, str] | None = None) -> ata.Registers:
    sense = node.scsi(command).sense
    if sense is None or not sense.ata:
        raise Refused("the host adapter does not hand over what the disk answered")
    registers = ata.Registers(sense.ata)
    _raise_on_failure(registers, reasons or {})
    return registers


def _raise_on_failure(registers: ata.Registers, reasons: dict[int, str]) -> None:
    if registers.failed:
        why = reasons.get(registers.lba & 0xFF) or f"status {registers.status:#04x}, error {registers.error:#04x}"
        raise Refused(f"the disk answered: {why}")

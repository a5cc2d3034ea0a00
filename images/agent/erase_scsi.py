"""Erasing by a SCSI disk: what it can do, the commands, and waiting for their end."""

from __future__ import annotations

from images.agent import opal, scsi
from images.agent.erase_node import Refused
from images.agent.erase_plan import Capabilities
from images.agent.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.agent.erase_node import Node

_POLL_S = 2.0
_UNIT_ATTENTION = 0x6
_SANITIZE = {
    "scsi-sanitize-block": scsi.BLOCK,
    "scsi-sanitize-crypto": scsi.CRYPTO,
    "scsi-sanitize-overwrite": scsi.OVERWRITE,
}
_FORMAT = "scsi-format-unit"


def look(node: Node, inquiry: scsi.Inquiry) -> Capabilities:
    """What the disk reports of its commands; one that reports nothing is asked for none."""
    methods = {name for name, action in _SANITIZE.items() if _has(node, scsi.SANITIZE, action)}
    if _has(node, scsi.FORMAT_UNIT, None):
        methods.add(_FORMAT)
    try:
        serial = scsi.serial_of(node.scsi(scsi.serial_page()).data)
    except (Refused, Malformed):
        serial = node.disk.serial
    return Capabilities(
        "scsi",
        node.disk.bytes,
        node.disk.rotational,
        frozenset(methods),
        serial=serial,
        model=f"{inquiry.vendor} {inquiry.product}",
        firmware=inquiry.revision,
    )


def _has(node: Node, opcode: int, service_action: int | None) -> bool:
    try:
        return scsi.is_supported(node.scsi(scsi.ask_for_command(opcode, service_action)).data)
    except (Refused, Malformed):
        return False


def is_taken(node: Node) -> bool:
    """Whether its self-encryption is under somebody's password. Raises Refused, Malformed."""
    return opal.is_taken(node.scsi(scsi.security_in(opal.PROTOCOL, opal.DISCOVERY, opal.ANSWER_BYTES)).data)


def under_way(node: Node) -> str:
    """The method that was begun before the last power cut and goes on by itself; empty: none. Raises Refused."""
    sense = _standing(node)
    return "scsi-sanitize" if sense.sanitizing else _FORMAT if sense.formatting else ""


def is_unformatted(node: Node) -> bool:
    """True where a format or sanitize was cut off, so that the disk has to be formatted before it has a size."""
    return _standing(node).code in ((0x31, 0x00), (0x31, 0x01), (0x31, 0x03))


def _standing(node: Node) -> scsi.Sense:
    return scsi.Sense(node.scsi(scsi.request_sense()).data)


def run(node: Node, name: str, tell: Callable[[float], None]) -> None:
    """Carry a method out; `tell` hears how much is done, from 0 to 1. Raises Refused, Malformed."""
    if name == _FORMAT:
        node.scsi(scsi.format_unit())
    else:
        node.scsi(scsi.sanitize(_SANITIZE[name]))
    wait(node, tell)


def wait(node: Node, tell: Callable[[float], None]) -> None:
    """Until a sanitize or format has ended. Raises Refused when it failed."""
    while True:
        sense = _standing(node)
        if sense.sanitizing or sense.formatting:
            tell(sense.progress or 0.0)
        elif sense.key == _UNIT_ATTENTION:
            tell(0.0)
        elif sense.key in (scsi.NOT_READY, scsi.MEDIUM_ERROR):
            if sense.code == (0x31, 0x03):
                node.scsi(scsi.sanitize(scsi.EXIT_FAILURE))
            raise Refused(f"the disk began and could not end it: {sense.text}")
        else:
            return
        node.pause(_POLL_S)

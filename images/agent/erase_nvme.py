"""Erasing by an NVMe controller: what it can do, the commands in their order, and waiting for their end."""

from __future__ import annotations

from images.agent import nvme, opal
from images.agent.erase_node import Refused
from images.agent.erase_plan import Capabilities
from images.agent.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.agent.erase_node import Node

_POLL_S = 1.0
_SANITIZE = {
    "nvme-sanitize-block": nvme.BLOCK,
    "nvme-sanitize-crypto": nvme.CRYPTO,
    "nvme-sanitize-overwrite": nvme.OVERWRITE,
}
_FORMAT = {"nvme-format-crypto": nvme.CRYPTO_ERASE, "nvme-format-erase": nvme.USER_DATA_ERASE}


def look(node: Node, *, shared: bool) -> Capabilities:
    """What the controller reports; `shared`: not all of its namespaces are to be erased. Raises Refused, Malformed."""
    told = nvme.Controller(node.admin(nvme.identify_controller()))
    can = {
        "nvme-sanitize-block": told.can_block,
        "nvme-sanitize-crypto": told.can_crypto,
        "nvme-sanitize-overwrite": told.can_overwrite,
        "nvme-format-crypto": told.can_format_crypto,
        "nvme-format-erase": told.can_format,
    }
    refusals = {}
    if shared and told.format_takes_all:
        refusals = dict.fromkeys(_FORMAT, "it would erase a namespace, too, that is not to be erased")
    estimates: dict[str, float] = {}
    if told.can_block or told.can_crypto or told.can_overwrite:
        known = nvme.SanitizeStatus(node.admin(nvme.sanitize_log())).estimates
        estimates = {name: float(known[action]) for name, action in _SANITIZE.items() if action in known}
    return Capabilities(
        "nvme",
        node.disk.bytes,
        node.disk.rotational,
        frozenset(name for name, there in can.items() if there),
        estimates=estimates,
        refusals=refusals,
        controller_shared=shared,
        serial=told.serial,
        model=told.model,
        firmware=told.firmware,
    )


def out_of_reach(node: Node, seen: frozenset[int]) -> list[str]:
    """What the controller keeps where none of the namespaces that are `seen` leads: for the certificate."""
    told = nvme.Controller(node.admin(nvme.identify_controller()))
    found = []
    if told.can_list:
        allocated = nvme.namespaces(node.admin(nvme.allocated_namespaces()))
        found = [f"namespace {nsid} is not attached" for nsid in allocated if nsid not in seen]
    return found


def is_taken(node: Node) -> bool:
    """Whether its self-encryption is under somebody's password. Raises Refused, Malformed."""
    if not nvme.Controller(node.admin(nvme.identify_controller())).has_security:
        return False
    return opal.is_taken(node.admin(nvme.security_receive(opal.PROTOCOL, opal.DISCOVERY, opal.ANSWER_BYTES)))


def under_way(node: Node) -> str:
    """The method that was begun before the last power cut and goes on by itself; empty: none. Raises Refused."""
    status = nvme.SanitizeStatus(node.admin(nvme.sanitize_log()))
    if status.state != nvme.IN_PROGRESS:
        return ""
    return next((name for name, action in _SANITIZE.items() if action == status.action), "nvme-sanitize-block")


def run(node: Node, name: str, limit_s: float, tell: Callable[[float], None]) -> None:
    """Carry a method out; `tell` hears how much is done, from 0 to 1. Raises Refused, Malformed."""
    if name in _SANITIZE:
        node.admin(nvme.sanitize(_SANITIZE[name]))
        wait(node, tell)
        return
    nsid = node.nsid()
    namespace = nvme.Namespace(node.admin(nvme.identify_namespace(nsid)))
    node.admin(nvme.format_namespace(nsid, namespace.format_fields, _FORMAT[name]), limit_s)


def wait(node: Node, tell: Callable[[float], None]) -> None:
    """Until a sanitize has ended. Raises Refused when it failed."""
    while True:
        status = nvme.SanitizeStatus(node.admin(nvme.sanitize_log()))
        if status.state == nvme.FAILED:
            node.admin(nvme.sanitize(nvme.EXIT_FAILURE))
            raise Refused("the controller began and could not end it")
        if status.state in (nvme.COMPLETED, nvme.COMPLETED_UNEXPECTEDLY):
            return
        if status.state != nvme.IN_PROGRESS:
            raise Malformed(f"sanitize status {status.state} after it was begun")
        tell(status.progress)
        node.pause(_POLL_S)

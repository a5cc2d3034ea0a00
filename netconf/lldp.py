"""What the leaf's ports see at the other end of their cables, by LLDP (IEEE 802.1AB), as Junos tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from netconf.owned import tag_of
from netconf.render import Element

ENTRY = "lldp-neighbor-information"
# The local port's word has changed between releases; the older one may carry the logical unit.
LOCAL_PORT, _OLD_LOCAL_PORT = "lldp-local-port-id", "lldp-local-interface"
CHASSIS_ID = "lldp-remote-chassis-id"
PORT_ID, PORT_DESCRIPTION = "lldp-remote-port-id", "lldp-remote-port-description"
SYSTEM_NAME = "lldp-remote-system-name"


@dataclass(frozen=True, slots=True, order=True)
class LldpNeighbor:
    """Who is at the other end of a port's cable, as it says itself; what it does not say is empty.

    Junos' short form tells a port's description, where the neighbour sends one, in place of its id.
    """

    port: str  # ours, "xe-0/0/12"
    chassis_id: str  # a MAC address in lower case with colons, where it is one
    port_id: str = ""
    port_description: str = ""
    system_name: str = ""


def neighbors_in(reply: Element) -> tuple[LldpNeighbor, ...]:
    """The neighbours in a reply to `get-lldp-neighbors-information`, by port."""
    found = []
    for entry in reply.iter():
        if isinstance(entry.tag, str) and tag_of(entry) == ENTRY:
            said = {tag_of(one): (one.text or "").strip() for one in entry if isinstance(one.tag, str)}
            port = (said.get(LOCAL_PORT) or said.get(_OLD_LOCAL_PORT, "")).removesuffix(".0")
            remote = (said.get(tag, "") for tag in (PORT_ID, PORT_DESCRIPTION, SYSTEM_NAME))
            found.append(LldpNeighbor(port, said.get(CHASSIS_ID, "").lower(), *remote))
    return tuple(sorted(found))

"""The virtual leaf's answer to `get-lldp-neighbors-information`, in the form that Junos gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from netconf.lldp import CHASSIS_ID, ENTRY, LOCAL_PORT, PORT_DESCRIPTION, PORT_ID, SYSTEM_NAME, LldpNeighbor
from netconf.render import Element
from service.lab.leaf.elements import information, said


def neighbors_reply(neighbors: Iterable[LldpNeighbor]) -> Element:
    """All neighbours, by port."""
    made = information("lldp-neighbors-information", "l2cpd")
    for one in sorted(neighbors):
        entry = said(made, ENTRY)
        for tag, text in (
            (LOCAL_PORT, one.port),
            ("lldp-local-parent-interface-name", "-"),
            ("lldp-remote-chassis-id-subtype", "Mac address"),
            (CHASSIS_ID, one.chassis_id),
            (PORT_ID, one.port_id),
            (PORT_DESCRIPTION, one.port_description),
            (SYSTEM_NAME, one.system_name),
        ):
            if text:
                said(entry, tag, text)
    return made

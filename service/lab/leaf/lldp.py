"""The virtual leaf's answer to `get-lldp-neighbors-information`, in the form that Junos gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from netconf.lldp import CHASSIS_ID, ENTRY, LOCAL_PORT, PORT_DESCRIPTION, PORT_ID, SYSTEM_NAME, LldpNeighbor
from netconf.render import Element

_JUNOS = "http://xml.juniper.net/junos/21.4R1/junos-l2cpd"


def neighbors_reply(neighbors: Iterable[LldpNeighbor]) -> Element:
    """All neighbours, by port."""
    made = etree.Element(f"{{{_JUNOS}}}lldp-neighbors-information", {"style": "brief"}, nsmap={None: _JUNOS})  # type: ignore[dict-item]
    for one in sorted(neighbors):
        entry = etree.SubElement(made, f"{{{_JUNOS}}}{ENTRY}")
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
                etree.SubElement(entry, f"{{{_JUNOS}}}{tag}").text = text
    return made

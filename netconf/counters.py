"""How many octets the leaf's ports have counted, as Junos tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from netconf.owned import tag_of
from netconf.render import Element

# The elements of `get-interface-information` with <detail/> that hold them, from the outside in.
PORT, STATISTICS = "physical-interface", "traffic-statistics"
RECEIVED, SENT = "input-bytes", "output-bytes"


@dataclass(frozen=True, slots=True, order=True)
class PortCounters:
    """What a port has counted since the leaf started or its counters were cleared: 64 bits, which hardly run over."""

    port: str  # "xe-0/0/12"
    received: int  # octets, from whoever is at the other end
    sent: int


def counters_in(reply: Element) -> tuple[PortCounters, ...]:
    """The counters in a reply, by port; what tells none is left out. Those of logical interfaces are not meant."""
    found = []
    for entry in reply.iter():
        if not (isinstance(entry.tag, str) and tag_of(entry) == PORT):
            continue
        parts = {tag_of(one): one for one in entry if isinstance(one.tag, str)}
        if "name" not in parts or STATISTICS not in parts:
            continue
        told = {tag_of(one): (one.text or "").strip() for one in parts[STATISTICS] if isinstance(one.tag, str)}
        received, sent = told.get(RECEIVED, ""), told.get(SENT, "")
        if received.isdecimal() and sent.isdecimal():
            found.append(PortCounters((parts["name"].text or "").strip(), int(received), int(sent)))
    return tuple(sorted(found))

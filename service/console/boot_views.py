"""The page of booting: who answers machines, whose cable is in the wrong place, and who waits to be enrolled."""

from __future__ import annotations

from collections.abc import Mapping

from service.console.look import Look, Page
from service.store.boot import boot_nodes, discoveries, wrong_cables

# What a node's counts are shown as: a word, the counts that go well together, and those that somebody should look at.
_KINDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "DHCP",
        ("dhcp_received", "dhcp_answered_offer", "dhcp_answered_ack", "dhcp_silent"),
        ("dhcp_answered_nak", "dhcp_malformed", "dhcp_declined", "dhcp_undecided", "dhcp_dropped"),
    ),
    (
        "DHCPv6",
        ("dhcp6_received", "dhcp6_advertise", "dhcp6_reply", "dhcp6_silent"),
        ("dhcp6_malformed", "dhcp6_declined", "dhcp6_undecided"),
    ),
    (
        "TFTP",
        ("tftp_requests", "tftp_sent", "tftp_probes", "tftp_retransmits"),
        ("tftp_given_up", "tftp_refused", "tftp_malformed", "tftp_busy"),
    ),
    ("HTTP", ("http_scripts", "http_files", "http_images", "http_bytes"), ("http_refused",)),
)


def tally(counters: Mapping[str, int]) -> list[tuple[str, list[tuple[str, int]], list[tuple[str, int]]]]:
    """A node's counts by protocol: those of every day, and those that are not nought and should be."""
    return [
        (
            kind,
            [(name.partition("_")[2].replace("_", " "), counters.get(name, 0)) for name in good],
            [(name.partition("_")[2].replace("_", " "), counters[name]) for name in bad if counters.get(name)],
        )
        for kind, good, bad in _KINDS
        if any(name.startswith(f"{kind.lower().replace('dhcpv6', 'dhcp6')}_") for name in counters)
    ]


async def boot(look: Look) -> Page:
    """Boot nodes with their counts, cables in the wrong place, and machines that nobody has enrolled."""
    db, now = look.api.db, look.api.clock.now()
    nodes = await boot_nodes(db)
    return {
        "nodes": [(node, node.silent(now), tally(node.counters)) for node in nodes],
        "cables": await wrong_cables(db),
        "discovered": await discoveries(db),
    }

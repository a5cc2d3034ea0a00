"""Counts that grow, and a copy of them."""

from __future__ import annotations

from pxe.counters import Counters


def test_counts_grow_and_a_snapshot_stays() -> None:
    counters = Counters()
    counters.count("dhcp_received")
    before = counters.snapshot()
    counters.count("dhcp_received", 2)
    assert before == {"dhcp_received": 1}
    assert counters.snapshot() == {"dhcp_received": 3}

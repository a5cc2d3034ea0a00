"""The octet counters of a leaf's ports: read off the virtual leaf, and out of what a real one says."""

from __future__ import annotations

import pytest
from lxml import etree

from netconf.counters import PortCounters, counters_in
from netconf.session import open_session
from service.lab.leaf import VirtualLeaf
from tests.netconf.test_transaction import PORTS, address

JUNOS = """<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
<interface-information xmlns="http://xml.juniper.net/junos/21.4R0/junos-interface">
<physical-interface><name>
xe-0/0/1
</name><traffic-statistics><input-bytes>
%s
</input-bytes><output-bytes>
4096
</output-bytes><input-packets>8</input-packets></traffic-statistics>
<logical-interface><name>xe-0/0/1.0</name><traffic-statistics><input-bytes>7</input-bytes>
<output-bytes>7</output-bytes></traffic-statistics></logical-interface></physical-interface>
<physical-interface><name>vtep</name></physical-interface>
<physical-interface><name>et-0/0/50</name><traffic-statistics><input-bytes>?</input-bytes>
<output-bytes>1</output-bytes></traffic-statistics></physical-interface>
</interface-information></rpc-reply>"""


@pytest.mark.parametrize("octets", [0, 123456789, 2**64 - 1])
def test_the_ports_own_counters_are_read(octets: int) -> None:
    assert counters_in(etree.fromstring(JUNOS % octets)) == (PortCounters("xe-0/0/1", octets, 4096),)


async def test_the_virtual_leaf_counts(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        before = {one.port: one for one in await session.port_counters()}
        leaf.traffic.flow(PORTS[0], received=10**6, sent=10**9)
        after = {one.port: one for one in await session.port_counters()}
    assert set(PORTS) <= set(before)
    assert after[PORTS[0]].received - before[PORTS[0]].received >= 10**6
    assert after[PORTS[0]].sent - before[PORTS[0]].sent >= 10**9
    assert after[PORTS[1]].sent - before[PORTS[1]].sent < 10**6
    assert all(after[port].sent >= before[port].sent for port in PORTS)
    leaf.traffic.restart()
    async with open_session(address(leaf)) as session:
        (again,) = [one for one in await session.port_counters() if one.port == PORTS[0]]
    assert again.sent < 10**6

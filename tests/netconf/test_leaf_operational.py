"""What the virtual leaf says of its state, read off the wire in Junos' own words."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

from netconf.desired import Profile
from netconf.owned import tag_of
from netconf.render import Element
from netconf.session import open_session
from netconf.transaction import apply
from service.lab.leaf import Plug, Speaker, VirtualLeaf
from tests.netconf.test_transaction import PORTS, address, leaf_of, port
from tests.netconf.wire import Wire, bare, kinds, told


async def configured(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        await apply(session, leaf_of(port(0, Profile.ACTIVE), port(1, Profile.QUARANTINE)))


def interface(reply: Element, name: str) -> Element:
    found = [one for one in bare(reply).iter("physical-interface") if one.findtext("name") == name]
    return found[0]


async def test_it_says_that_it_is_junos(call: Wire) -> None:
    assert "http://xml.juniper.net/netconf/junos/1.0" in call.capabilities


async def test_interfaces_are_told_short_with_states_and_addresses(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    reply = await call("<get-interface-information><terse/></get-interface-information>")
    assert tag_of(reply[0]) == "interface-information"
    assert str(reply[0].tag).startswith("{http://xml.juniper.net/junos/21.4R0/junos-interface}")
    assert told(reply, "*/physical-interface/name") == [
        *("et-0/0/48", "et-0/0/49", "lo0"),
        *PORTS,
    ]
    one = interface(reply, PORTS[0])
    assert (one.findtext("admin-status"), one.findtext("oper-status")) == ("up", "up")
    assert one.findtext("logical-interface/name") == f"{PORTS[0]}.0"
    families = {
        family.findtext("address-family-name"): [one.text for one in family.iterfind("interface-address/ifa-local")]
        for family in one.iterfind("logical-interface/address-family")
    }
    assert families == {"inet": ["10.64.0.0/31", "10.65.0.0/31", "198.51.100.0/31"], "inet6": ["2001:db8::/127"]}
    assert interface(reply, PORTS[5]).find("logical-interface") is None
    # Junos' daemons write each value on a line of its own.
    assert reply[0][0][0].text == "\net-0/0/48\n"


async def test_interfaces_are_told_at_length_by_name(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    named = "<get-interface-information><interface-name>{}</interface-name></get-interface-information>"
    reply = await call(named.format(PORTS[0]))
    assert told(reply, "*/physical-interface/name") == [PORTS[0]]
    assert told(reply, "*/*/description") == ["rh g=1 active m0"]
    assert told(reply, "*/*/mtu") == ["9216"]
    assert told(reply, ".//ifa-destination")[0] == "10.64.0.0/31"
    assert told(reply, ".//ifa-local")[0] == "10.64.0.0"
    assert told(await call(named.format(f"{PORTS[0]}.0")), "*/logical-interface/name") == [f"{PORTS[0]}.0"]
    assert told(await call(named.format("xe-0/0/[12]")), "*/*/name") == [PORTS[1], f"{PORTS[1]}.0", PORTS[2]][::2]
    assert told(await call(named.format("xe-9/9/9")), "*/error-message") == ["device xe-9/9/9 not found"]


async def test_a_port_is_up_that_has_a_cable_and_is_not_disabled(leaf: VirtualLeaf, call: Wire) -> None:
    leaf.plugs = lambda: [Plug(PORTS[1]), Plug(PORTS[2], "02:00:00:00:00:02")]
    edit = (
        "<edit-config><target><candidate/></target><config><configuration><interfaces><interface><name>xe-0/0/1</name>"
        "<disable/></interface></interfaces></configuration></config></edit-config>"
    )
    assert [kinds(await call(one)) for one in (edit, "<commit/>")] == [["ok"], ["ok"]]
    reply = await call("<get-interface-information><terse/></get-interface-information>")
    states = {
        name: (interface(reply, name).findtext("admin-status"), interface(reply, name).findtext("oper-status"))
        for name in (*PORTS[:3], "et-0/0/48", "lo0")
    }
    assert states == {
        PORTS[0]: ("up", "down"),
        PORTS[1]: ("down", "down"),
        PORTS[2]: ("up", "up"),
        "et-0/0/48": ("up", "up"),
        "lo0": ("up", "up"),
    }
    neighbors = await call("<get-lldp-neighbors-information/>")
    assert told(neighbors, ".//lldp-remote-chassis-id") == ["02:00:00:00:00:02"]
    assert told(neighbors, ".//lldp-remote-port-id") == ["02:00:00:00:00:02"]


ROUTES = "<get-route-information>{}</get-route-information>"


async def routes(call: Wire, words: str = "") -> dict[tuple[str, str], list[str]]:
    """What leads where, by protocol and destination."""
    reply = bare(await call(ROUTES.format(words)))
    return {
        (entry.findtext("protocol-name") or "", one.findtext("rt-destination") or ""): [
            f"{hop.findtext('to') or ''} {hop.findtext('via') or hop.findtext('nh-local-interface') or ''}".strip()
            for hop in entry.iterfind("nh")
        ]
        or [entry.findtext("nh-type") or ""]
        for one in reply.iter("rt")
        for entry in one.iterfind("rt-entry")
    }


async def test_routes_follow_from_what_runs(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    found = await routes(call)
    assert found["Direct", "10.64.0.0/31"] == [f"{PORTS[0]}.0"]
    assert found["Local", "10.64.0.0/32"] == [f"{PORTS[0]}.0"]
    assert found["Direct", "10.255.255.12/32"] == ["lo0.0"]
    assert found["Static", "203.0.113.0/32"] == [f"198.51.100.1 {PORTS[0]}.0"]
    assert found["Static", "2001:db8:e000::/64"] == [f"2001:db8::1 {PORTS[0]}.0"]
    assert found["Static", "2001:db8:ffff::/48"] == ["Discard"]
    assert found["INET6", "ff02::2/128"] == ["MultiRecv"]


async def test_routes_are_asked_for_by_table_protocol_and_destination(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    reply = bare(await call(ROUTES.format("<table>inet6.0</table>")))
    assert [one.text for one in reply.iter("table-name")] == ["inet6.0"]
    assert (reply.findtext(".//total-route-count"), reply.findtext(".//hidden-route-count")) == ("5", "0")
    assert {protocol for protocol, _ in await routes(call, "<protocol>static</protocol>")} == {"Static"}
    elastic = "<destination>203.0.113.0/32</destination>"
    assert list(await routes(call, elastic)) == [("Static", "203.0.113.0/32")]
    assert list(await routes(call, f"{elastic}<exact/><active-path/>")) == [("Static", "203.0.113.0/32")]
    # The longest that a destination lies in, and those that lie in it.
    assert list(await routes(call, "<destination>192.0.2.77</destination>")) == [("Static", "192.0.2.0/24")]
    inside = await routes(call, "<destination>10.64.0.0/29</destination>")
    assert {destination for _, destination in inside} == {
        "10.64.0.0/31",
        "10.64.0.0/32",
        "10.64.0.2/31",
        "10.64.0.2/32",
    }
    assert await routes(call, "<destination>10.64.0.0/29</destination><exact/>") == {}
    assert kinds(await call(ROUTES.format("<destination>nowhere</destination>"))) == ["rpc-error error"]


async def test_a_link_that_is_down_takes_its_routes_with_it(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    leaf.plugs = lambda: [Plug(PORTS[1])]
    found = await routes(call)
    assert ("Direct", "10.64.0.0/31") not in found
    assert ("Static", "203.0.113.0/32") not in found
    assert ("Direct", "10.64.0.2/31") in found
    reply = bare(await call(ROUTES.format("<destination>10.64.0.0/32</destination>")))
    assert reply.findtext(".//nh-type") == "Reject"


_BGP = """<edit-config><target><candidate/></target><config><configuration>
<routing-options><autonomous-system><as-number>4200012001</as-number></autonomous-system></routing-options>
<protocols><bgp><group><name>hosts</name><type>external</type><passive/><peer-as>65000</peer-as><local-as><as-number>
65530</as-number></local-as><neighbor><name>10.65.0.1</name><import>from-host</import></neighbor></group>
<group><name>spines</name><type>external</type><neighbor><name>10.255.0.0</name><peer-as>4200000001</peer-as>
<description>spine1</description></neighbor></group></bgp></protocols>
<policy-options><prefix-list><name>eip</name><prefix-list-item><name>203.0.113.0/24</name></prefix-list-item>
</prefix-list><policy-statement><name>from-host</name><term><name>eip</name><from><prefix-list-filter><list_name>eip
</list_name><orlonger/></prefix-list-filter></from><then><accept/></then></term><term><name>rest</name><then><reject/>
</then></term></policy-statement></policy-options></configuration></config></edit-config>"""


async def test_bgp_neighbours_are_told_with_their_state_and_what_they_announce(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    assert [kinds(await call(one)) for one in (_BGP, "<commit/>")] == [["ok"], ["ok"]]
    ask = "<get-bgp-neighbor-information><neighbor-address>10.65.0.1</neighbor-address></get-bgp-neighbor-information>"
    reply = await call(ask)
    assert told(reply, "*/bgp-peer/peer-state") == ["Active"]
    assert told(reply, "*/bgp-peer/peer-address") == ["10.65.0.1"]
    prefixes = ("203.0.113.7/32", "198.18.0.0/24", "0.0.0.0/0")
    leaf.speakers["10.65.0.1"] = Speaker(65000, tuple(map(ip_network, prefixes)))
    reply = await call(ask)
    assert told(reply, "*/bgp-peer/peer-state") == ["Established"]
    assert told(reply, "*/bgp-peer/peer-address") == ["10.65.0.1+49152"]
    assert told(reply, "*/bgp-peer/local-address") == ["10.65.0.0+179"]
    assert (told(reply, ".//peer-as"), told(reply, ".//local-as")) == (["65000"], ["65530"])
    counts = [told(reply, f".//bgp-rib/{word}-prefix-count") for word in ("received", "accepted", "active")]
    assert counts == [["3"], ["1"], ["1"]]
    assert await routes(call, "<protocol>bgp</protocol>") == {
        ("BGP", "203.0.113.7/32"): [f"10.65.0.1 {PORTS[0]}.0"],
    }
    summary = await call("<get-bgp-summary-information/>")
    assert told(summary, "*/bgp-peer/peer-state") == ["Established", "Active"]
    assert (told(summary, "*/peer-count"), told(summary, "*/down-peer-count")) == (["2"], ["1"])
    leaf.speakers["10.65.0.1"] = Speaker(65001)
    assert told(await call(ask), "*/bgp-peer/peer-state") == ["Connect"]
    leaf.speakers["10.65.0.1"] = Speaker(65000, password="secret")
    assert told(await call(ask), "*/bgp-peer/peer-state") == ["Active"]
    leaf.plugs = list
    assert told(await call(ask), "*/bgp-peer/peer-state") == ["Idle"]


async def test_a_static_route_wins_over_a_learned_one(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    assert [kinds(await call(one)) for one in (_BGP, "<commit/>")] == [["ok"], ["ok"]]
    leaf.speakers["10.65.0.1"] = Speaker(65000, (ip_network("203.0.113.0/32"),))
    reply = bare(await call(ROUTES.format("<destination>203.0.113.0/32</destination>")))
    tags = [(one.findtext("protocol-name"), one.findtext("active-tag")) for one in reply.iter("rt-entry")]
    assert tags == [("Static", "*"), ("BGP", "")]
    found = await routes(call, "<destination>203.0.113.0/32</destination><active-path/>")
    assert list(found) == [("Static", "203.0.113.0/32")]


async def test_what_a_commit_harms_is_whole_again_when_it_is_taken_back(leaf: VirtualLeaf, call: Wire) -> None:
    await configured(leaf)
    leaf.plugs = lambda: [Plug(name, f"02:00:00:00:00:0{number}") for number, name in enumerate(PORTS)]
    faults = leaf.faults
    faults.down, faults.lost_routes, faults.lost_neighbors = {PORTS[0]}, {"10.64.0.2/31"}, {PORTS[1]}

    async def seen() -> tuple[str | None, bool, bool]:
        terse = await call("<get-interface-information><terse/></get-interface-information>")
        heard = told(await call("<get-lldp-neighbors-information/>"), ".//lldp-local-port-id")
        return (
            interface(terse, PORTS[0]).findtext("oper-status"),
            ("Direct", "10.64.0.2/31") in await routes(call),
            PORTS[1] in heard,
        )

    assert await seen() == ("up", True, True)
    assert kinds(await call(_BGP)) == ["ok"]
    assert kinds(await call("<commit><confirmed/><persist>x</persist></commit>")) == ["ok"]
    assert await seen() == ("down", False, False)
    assert kinds(await call("<cancel-commit><persist-id>x</persist-id></cancel-commit>")) == ["ok"]
    assert await seen() == ("up", True, True)
    assert [kinds(await call(one)) for one in (_BGP, "<commit/>")] == [["ok"], ["ok"]]
    assert await seen() == ("down", False, False)
    faults.down.clear()
    assert (await seen())[0] == "up"


async def test_taking_back_takes_as_long_as_a_commit_and_locks_the_database(leaf: VirtualLeaf, call: Wire) -> None:
    leaf.commit_seconds = 0.1
    assert kinds(await call(_BGP)) == ["ok"]
    assert kinds(await call("<commit><confirmed/><confirm-timeout>1</confirm-timeout><persist>x</persist></commit>"))
    async with leaf.busy:  # it goes back as slowly as we look on
        while leaf.trial is None or not leaf.trial.ending:
            await asyncio.sleep(0.01)
        for operation in (_BGP, "<lock><target><candidate/></target></lock>", "<commit/>"):
            assert "locked by root" in told(await call(operation), "*/error-message")[0]
        assert leaf.running.find("protocols/bgp") is not None
    while leaf.trial is not None:
        await asyncio.sleep(0.01)
    assert leaf.running.find("protocols/bgp") is None
    assert kinds(await call(_BGP)) == ["ok"]

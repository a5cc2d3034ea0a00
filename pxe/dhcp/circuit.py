"""Which port a relay means: the forms of circuit-id and remote-id (RFC 3046 §3.1, §3.2) that vendors write, as data.

RFC 3046 leaves the forms to the vendor, and the same bytes may be one vendor's channel and another's VLAN. So a
circuit-id has several readings, and whoever knows the ports says which of them exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from pxe.decide import Reading


@dataclass(frozen=True, slots=True)
class TextForm:
    """A circuit-id that is text. The groups of the pattern are `port` and, where the form tells it, `node`."""

    vendor: str
    pattern: re.Pattern[str]
    source: str
    example: str


@dataclass(frozen=True, slots=True)
class BinaryForm:
    """A circuit-id that is a structure. `ports` gives the ports that it may mean, none where it is not this form."""

    vendor: str
    ports: Callable[[bytes], tuple[str, ...]]
    source: str
    example: bytes


# What may stand before the port's name, and after it: a host name or a routing instance; a unit, a VLAN.
_HEAD = r"(?:(?P<node>[^:;/|\s]+)(?:[;/|][^:\s]*)?:)?"
_TAIL = r"(?:\.\d+){0,2}(?:[: ].*)?"


def _text(vendor: str, port: str, source: str, example: str) -> TextForm:
    return TextForm(vendor, re.compile(f"{_HEAD}(?P<port>{port}){_TAIL}"), source, example)


_JUNOS = "Junos CLI reference, circuit-id (DHCP Relay Agent); prefix (DHCP Relay Agent)"
_HUAWEI = "Huawei CloudEngine command reference, dhcp option82 format"

# All forms that fit the whole circuit-id count, in this order.
TEXT_FORMS = (
    _text("Junos, channel", r"(?:et|xe|ge)-\d+/\d+/\d+:\d{1,2}", _JUNOS, "leaf1:et-0/0/0:0.0"),
    _text("Junos", r"(?:et|xe|ge|fe|mge)-\d+/\d+/\d+", _JUNOS, "ge-0/0/12.0:v100"),
    _text("Junos, aggregate", r"(?:ae|reth)\d+", _JUNOS, "ae52.0"),
    _text(
        "Arista EOS, Cisco NX-OS, SONiC",
        r"(?:Ethernet|Eth|etp)\d+(?:/\d+){0,2}|[Pp]ort-[Cc]hannel\d+|PortChannel\d+",
        "Cisco Nexus 9000 NX-OS Security Configuration Guide, DHCP Relay Agent Option 82; Arista EOS User Manual, DHCP "
        "Relay; sonic_dhcp_relay of dellemc.enterprise_sonic, circuit_id",
        "leaf1:Ethernet14:Vlan2001",
    ),
    _text(
        "Cisco IOS, IOS XE, IOS XR",
        r"(?:Gi|Te|Fo|Hu|TwoGigabitEthernet|GigabitEthernet|TenGigabitEthernet|TenGigE|TwentyFiveGigE"
        r"|FortyGigabitEthernet|FortyGigE|HundredGigE|FourHundredGigE)\d+(?:/\d+){1,3}|Bundle-Ether\d+",
        "Cisco IE 2000 Switch Software Configuration Guide, DHCP option-82 data insertion",
        "Gi1/10:2020",
    ),
    _text(
        "Dell OS10, channel",
        r"ethernet\d+/\d+/\d+:\d",
        "Dell SmartFabric OS10 User Guide, DHCP relay agent; interface naming",
        "ethernet1/1/5:2",
    ),
    _text(
        "Dell OS10",
        r"ethernet\d+/\d+/\d+|port-channel\d+",
        "Dell SmartFabric OS10 User Guide, DHCP relay agent; interface naming",
        "ethernet1/1/5",
    ),
    _text(
        "Nokia SR Linux",
        r"ethernet-\d+/\d+(?:/\d+)?|lag\d+",
        "Nokia SR Linux YANG, srl_nokia-interfaces, name of an interface",
        "ethernet-1/12.0",
    ),
    TextForm(
        "Nokia SR OS, ASCII tuple",
        re.compile(r"(?P<node>[^|]+)\|[^|]*\|(?P<port>\d+(?:/[A-Za-z]?\d+){1,3}|lag-[\w-]+?|[\w.-]+)(?::[\d.*]+)?"),
        "Nokia 7450 Router Configuration Guide, dhcp option circuit-id ascii-tuple",
        "leaf1|100|1/1/12:200",
    ),
    TextForm(
        "Huawei, default and type1",
        re.compile(r"(?P<port>[A-Za-z][A-Za-z-]*\d+(?:/\d+){0,3}):\d+\.\d+,? ?(?P<node>[^/\s]+)/0/0/0/0/0"),
        _HUAWEI,
        "GE1/0/12:100.0 leaf1/0/0/0/0/0",
    ),
    TextForm(
        "Huawei, common",
        re.compile(r"(?:eth|trunk) ?(?P<port>\d+/\d+/\d+):\d+\.\d+(?: .*)?"),
        _HUAWEI,
        "eth1/0/12:100.0 leaf10/0/0/0/0",
    ),
    _text(
        "Huawei, H3C",
        r"(?:GE|XGE|10GE|25GE|40GE|100GE|400GE|Ten-GigabitEthernet|Twenty-FiveGigE|M-GigabitEthernet)\d+(?:/\d+){1,3}"
        r"|Eth-Trunk\d+|Bridge-Aggregation\d+",
        "HPE 10500 Layer 3 IP Services Command Reference, dhcp relay information circuit-id, interface",
        "10GE1/0/12",
    ),
    TextForm(
        "TR-101 (H3C verbose with sysname, Edgecore, D-Link)",
        re.compile(r"(?:(?P<node>\S+) )?eth (?P<port>\d+(?:/\d+){1,3})(?:[:.].*)?"),
        "Broadband Forum TR-101 §3.9.3, R-124; HPE 5920 command reference, dhcp relay information circuit-id verbose",
        "leaf1 eth 1/0/12:100",
    ),
    TextForm(
        "ISC dhcrelay, Cumulus Linux: the name of a Linux interface",
        re.compile(r"(?P<port>[A-Za-z][A-Za-z0-9_-]{0,14})(?:\.\d+)?"),
        "dhcrelay(8), option -a; NVIDIA NVUE reference, dhcp-relay agent use-pif-circuit-id",
        "swp12s0",
    ),
)


def _vlan_module_port(value: bytes) -> tuple[str, ...]:
    if len(value) != 6 or value[:2] != b"\0\4" or not 0 < int.from_bytes(value[2:4], "big") < 4095:
        return ()
    module, port = value[4], value[5]
    return f"{module}/{port}", f"{module}/0/{port}"


def _vlan_slot_bits(value: bytes) -> tuple[str, ...]:
    if not _vlan_module_port(value):
        return ()
    return (f"{value[4] >> 3}/{value[4] & 7}/{value[5]}",)


def _interface_index(value: bytes) -> tuple[str, ...]:
    index = value[2:] if value[:2] == b"\0\4" else value
    if len(index) != 4 or index[0] != 0x1A:
        return ()
    number = int.from_bytes(index, "big")
    return (f"Ethernet{(number >> 19 & 31) + 1}/{(number >> 12 & 127) + 1}",)


BINARY_FORMS = (
    BinaryForm(
        "Cisco IOS and NX-OS snooping, D-Link: type 0, length 4, VLAN, module, port",
        _vlan_module_port,
        "Cisco IE 2000 Switch Software Configuration Guide, figure Suboption Packet Formats",
        bytes.fromhex("000400640105"),
    ),
    BinaryForm(
        "Huawei, extend: type 0, length 4, VLAN, slot of 5 bits, subslot of 3, port",
        _vlan_slot_bits,
        _HUAWEI,
        bytes.fromhex("00040064080c"),
    ),
    BinaryForm(
        "Cisco NX-OS relay: the interface's index",
        _interface_index,
        "Cisco Nexus 9000 NX-OS Security Configuration Guide, DHCP Relay Agent Option 82 (binary ifindex)",
        bytes.fromhex("1a001000"),
    ),
)

_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}[.-]){2}[0-9a-fA-F]{4}|[0-9a-fA-F]{12}")


# A port says the same with every message; 16,384 ports are some hundreds of leaves.
@lru_cache(maxsize=16384)
def readings(circuit_id: bytes, remote_id: bytes | None) -> tuple[Reading, ...]:
    """The ports that the two may mean, best first; none where no form fits. Never raises."""
    remote = _node(remote_id)
    found: dict[Reading, None] = {}
    for port, prefix in _ports(circuit_id):
        # The remote-id is made to tell the relay; what stands before the port may be a routing instance as well.
        nodes = [remote] if remote is not None else [prefix, None] if prefix is not None else [None]
        for node in nodes:
            found[Reading(port, node)] = None
    return tuple(found)


def _ports(circuit_id: bytes) -> Iterator[tuple[str, str | None]]:
    """The ports of all forms that fit, each with the node that stands beside it."""
    written = _plain_text(circuit_id)
    if written is None and circuit_id[:1] == b"\1" and circuit_id[1:2] == bytes((len(circuit_id) - 2 & 255,)):
        written = _plain_text(circuit_id[2:])  # Cisco's, H3C's and D-Link's frame of a text: type 1, length
    if written is None:
        for binary in BINARY_FORMS:
            for port in binary.ports(circuit_id):
                yield port, None
        return
    for form in TEXT_FORMS:
        if match := form.pattern.fullmatch(written):
            yield match["port"], match.groupdict().get("node")


def _node(remote_id: bytes | None) -> str | None:
    """The relay's host name; None for a MAC address, from which no leaf's name follows."""
    if remote_id is None:
        return None
    if remote_id[:1] == b"\1" and remote_id[1:2] == bytes((len(remote_id) - 2 & 255,)):
        remote_id = remote_id[2:]
    written = _plain_text(remote_id)
    return written if written and _NODE.fullmatch(written) and not _MAC.fullmatch(written) else None


def _plain_text(value: bytes) -> str | None:
    """The value as text, None where it is not printable ASCII; some relays end it with a NUL."""
    written = value.rstrip(b"\0").decode("latin-1")
    return written if written and written.isascii() and written.isprintable() else None

"""Juniper's own YANG models of a QFX leaf's configuration, as a server or a checker can load them.

They are of release 21.4R1, from github.com/Juniper/yang (Apache-2.0), and are kept in the archive beside this file.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from netconf.owned import name_of
from netconf.render import Element

ARCHIVE = Path(__file__).with_name("junos-yang-21.4R1.tar.xz")
_STATEMENTS = (
    "interfaces",
    "system",
    "forwarding-options",
    "protocols",
    "routing-options",
    "policy-options",
    "firewall",
    "snmp",
    "chassis",
)
# The root comes first: what augments a module that is not there yet is left out, and then everything passes.
MODULES = tuple(f"junos-qfx-conf-{name}" for name in ("root", *_STATEMENTS))
_CONF = "http://yang.juniper.net/junos-qfx/conf/"
NAMESPACES = {"configuration": f"{_CONF}root"} | {name: f"{_CONF}{name}" for name in _STATEMENTS}

_CHOICE = re.compile(
    r"leaf choice-ident \{\s*type enumeration \{(?P<enums>(?:\s*enum \"[^\"]+\" \{\s*\})*)\s*\}\s*\}"
    r"\s*leaf choice-value \{\s*type string;\s*\}"
)
# Of such choices' words, those that filters of routes and changes of communities have, and which take a value.
_WORDS = dict.fromkeys(("exact", "longer", "orlonger", "add", "set", "delete"), "empty")
_WORDS |= dict.fromkeys(("upto", "through", "prefix-length-range", "address-mask"), "string")
_INTERFACE = re.compile(r"(grouping interfaces_type \{[^{]*leaf name \{\s*)type string;")
_INTERFACE_NAME = "(ge|xe|et)-[0-9]+/[0-9]+/[0-9]+(:[0-9]+)?|ae[0-9]+|irb|lo0|em[0-9]|vme"

_FILTER_TERM, _POLICY_TERM = "firewall/family/*/filter/term", "policy-options/policy-statement/term"
# What is referred to by its name, and where.
_REFERENCES = {
    "firewall/family/inet/filter": ("interfaces/interface/unit/family/inet/filter/*/filter-name",),
    "firewall/family/inet6/filter": ("interfaces/interface/unit/family/inet6/filter/*/filter-name",),
    "firewall/policer": (f"{_FILTER_TERM}/then/policer", "interfaces/interface/unit/family/*/policer/arp"),
    "policy-options/prefix-list": (
        f"{_FILTER_TERM}/from/source-prefix-list",
        f"{_FILTER_TERM}/from/destination-prefix-list",
        f"{_POLICY_TERM}/from/prefix-list",
        f"{_POLICY_TERM}/from/prefix-list-filter",
    ),
    "policy-options/policy-statement": (
        "protocols/bgp//import",
        "protocols/bgp//export",
        "routing-options/forwarding-table/export",
    ),
    "policy-options/community": (f"{_POLICY_TERM}/from/community", f"{_POLICY_TERM}/then/community/community-name"),
    "forwarding-options/dhcp-relay/server-group/server-group": (
        "forwarding-options/dhcp-relay/group/active-server-group/*",
    ),
    "forwarding-options/dhcp-relay/dhcpv6/server-group/server-group": (
        "forwarding-options/dhcp-relay/dhcpv6/group/active-server-group/*",
    ),
    "interfaces/interface": (
        "forwarding-options/dhcp-relay/group/interface",
        "forwarding-options/dhcp-relay/dhcpv6/group/interface",
        "protocols/router-advertisement/interface",
    ),
}


def unpack(directory: Path) -> None:
    """Put the models into a directory, two things in them said as Junos itself has them.

    A choice among the words of a list entry, `<exact/>` for one, is modelled as two more keys of the list, choice-ident
    and choice-value. And any string passes for an interface's name, which no Junos takes.
    """
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    for path in directory.glob("junos-qfx-conf-*.yang"):
        text = path.read_text().replace(" choice-ident choice-value", "").replace('"choice-ident choice-value ', '"')
        text = _CHOICE.sub(_words, text)
        if path.name.startswith("junos-qfx-conf-interfaces"):
            text, found = _INTERFACE.subn(rf'\1type string {{ pattern "{_INTERFACE_NAME}"; }}', text)
            assert found == 1
        path.write_text(text)


def _words(choice: re.Match[str]) -> str:
    names = [name for name in re.findall(r'"([^"]+)"', choice["enums"]) if name in _WORDS]
    leaves = " ".join(f"leaf {name} {{ type {_WORDS[name]}; }}" for name in names)
    return f"choice word {{ {leaves} }}"


def dangling(configuration: Element) -> list[str]:
    """What a configuration in plain form refers to and does not have; the models leave this to Junos' commit."""
    missing = []
    for place, users in _REFERENCES.items():
        defined = {name_of(one) for one in configuration.iterfind(place)}
        used = {_meant(one) for path in users for one in configuration.iterfind(path)}
        missing += [f"{place} {name}" for name in sorted(used - defined)]
    return missing


def _meant(use: Element) -> str:
    name = name_of(use) or use.findtext("list_name") or use.text or ""
    return name.removesuffix(".0") if use.tag == "interface" else name

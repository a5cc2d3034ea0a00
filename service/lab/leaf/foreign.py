"""What of a leaf's configuration is not Roundhouse's. Pure.

It is told here by the leaf itself, without what the driver goes by.
"""

from __future__ import annotations

import copy
import re

from lxml import etree

from netconf.owned import name_of
from netconf.render import ROUTE_TAG, Element

_NAME = re.compile("rh|rh[46]?-.*")
_NAMED = (
    "forwarding-options/dhcp-relay/group",
    "forwarding-options/dhcp-relay/server-group/server-group",
    "forwarding-options/dhcp-relay/dhcpv6/group",
    "forwarding-options/dhcp-relay/dhcpv6/server-group/server-group",
    "protocols/bgp/group",
    "policy-options/prefix-list",
    "policy-options/policy-statement",
    "policy-options/community",
    "firewall/family/*/filter",
    "firewall/policer",
)

# What was on the leaf before Roundhouse came, and must be there unchanged when it is gone.
_BEFORE = """<configuration>
 <system><host-name>{name}</host-name><login><class><name>noc</name><permissions>view</permissions></class></login>
  <ntp><server><name>192.0.2.123</name></server></ntp></system>
 <interfaces>
  <interface><name>et-0/0/48</name><description>spine1</description><mtu>9216</mtu><unit><name>0</name><family><inet>
   <address><name>10.255.0.1/31</name></address></inet></family></unit></interface>
  <interface><name>et-0/0/49</name><description>spine2</description><mtu>9216</mtu><unit><name>0</name><family><inet>
   <address><name>10.255.0.3/31</name></address></inet></family></unit></interface>
  <interface><name>lo0</name><unit><name>0</name><family><inet><filter><input><filter-name>protect-re</filter-name>
   </input></filter><address><name>10.255.255.12/32</name></address></inet></family></unit></interface>
 </interfaces>
 <routing-options><router-id>10.255.255.12</router-id>
  <autonomous-system><as-number>4200012001</as-number></autonomous-system>
  <static><route><name>192.0.2.0/24</name><next-hop>10.255.0.0</next-hop><tag><metric-value>7</metric-value></tag></route>
  </static><rib><name>inet6.0</name><static><route><name>2001:db8:ffff::/48</name><discard/></route></static></rib>
 </routing-options>
 <protocols><lldp><port-id-subtype>interface-name</port-id-subtype><interface><name>all</name></interface></lldp>
 </protocols>
 <policy-options><prefix-list><name>operators</name><prefix-list-item><name>192.0.2.0/24</name></prefix-list-item>
 </prefix-list></policy-options>
 <firewall><family><inet><filter><name>protect-re</name><term><name>mgmt</name><from><source-prefix-list>
  <name>operators</name></source-prefix-list></from><then><accept/></then></term></filter></inet></family></firewall>
</configuration>"""


def configuration_before(name: str) -> Element:
    """The configuration of a leaf of that name which Roundhouse has not come to yet."""
    return etree.fromstring(_BEFORE.format(name=name), etree.XMLParser(remove_blank_text=True))


def without_ours(configuration: Element) -> Element:
    """A copy without Roundhouse's objects, and without what only they kept from being empty."""
    rest = copy.deepcopy(configuration)
    interfaces = [
        one for one in rest.iterfind("interfaces/interface") if (one.findtext("description") or "").startswith("rh ")
    ]
    names = {name for one in interfaces for name in (name_of(one), f"{name_of(one)}.0")}
    ours = [
        *interfaces,
        *(one for one in rest.iterfind("protocols/lldp/interface") if name_of(one) in names),
        *(one for one in rest.iterfind("protocols/router-advertisement/interface") if name_of(one) in names),
        *(one for place in _NAMED for one in rest.iterfind(place) if _NAME.fullmatch(name_of(one))),
        *(one for one in rest.iterfind("routing-options//route") if one.findtext("tag/metric-value") == ROUTE_TAG),
    ]
    for one in ours:
        _remove(one)
    return rest


def _remove(element: Element) -> None:
    """Take it out, and what is around it if nothing is left there but a name."""
    parent = element.getparent()
    if parent is None:
        return
    parent.remove(element)
    if all(child.tag == "name" for child in parent):
        _remove(parent)

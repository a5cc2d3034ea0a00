"""What our objects on a leaf are called, and whose an object is by its name. Pure.

Names of ours begin with `rh-`, `rh4-` or `rh6-`, or are `rh`; a route has a tag and an interface a description instead.
"""

from __future__ import annotations

import re

OWNER = "rh"
ROUTE_TAG = "29288"  # "rh" as a number: routes have no names
MTU = 9216
UPLINK_DESCRIPTION = f"{OWNER} uplink"
LOOPBACK_DESCRIPTION = f"{OWNER} loopback"
FABRIC = "fabric"  # what stands for loopback, uplinks and protection where ports are named

HOST_COMMUNITY = f"{OWNER}-host"
FABRIC_GROUP = f"{OWNER}-fabric"
FABRIC_EXPORT = f"{OWNER}-to-fabric"
CONTROL_POLICER = f"{OWNER}-control"

_OURS = re.compile(rf"{OWNER}|{OWNER}[46]?-.+")
_KINDS_OF_PORT = ("own", "bgpx", "bgp", "from", "to")
_KINDS_OF_FABRIC = ("protect", "management", "peers", "ntp", "dns", "radius", "tacplus")
_OF_PORT = re.compile(rf"{OWNER}[46]-(?!(?:{'|'.join(_KINDS_OF_FABRIC)})$)(?:(?:{'|'.join(_KINDS_OF_PORT)})-)?(.+)")
_SHARED = (OWNER, HOST_COMMUNITY)


def is_ours(name: str) -> bool:
    """Whether an object that is called so is ours."""
    return _OURS.fullmatch(name) is not None


def describes_ours(description: str) -> bool:
    """Whether an interface with this description is ours."""
    return description.startswith(f"{OWNER} ")


def describes_fabric(description: str) -> bool:
    """Whether an interface with this description is ours and no host port."""
    return description.startswith(f"{UPLINK_DESCRIPTION} ") or description == LOOPBACK_DESCRIPTION


def port_of_name(name: str) -> str:
    """The port that an object of ours belongs to; FABRIC; or nothing for what ports share."""
    if (found := _OF_PORT.fullmatch(name)) is not None:
        return found[1]
    return "" if name in _SHARED else FABRIC


def of_port(version: int, port: str, kind: str = "") -> str:
    """What a port's object is called: its filter and BGP group without a kind, else own, bgp, bgpx, from, to."""
    return f"{OWNER}{version}-{kind}-{port}" if kind else f"{OWNER}{version}-{port}"


def protect_filter(version: int) -> str:
    """What the filter of what reaches the leaf itself is called."""
    return f"{OWNER}{version}-protect"


def named_list(version: int, kind: str) -> str:
    """What a list is called that says who may reach the leaf itself."""
    return f"{OWNER}{version}-{kind}"

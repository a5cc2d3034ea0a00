"""What our objects on a leaf are called, and whose an object is by its name. Pure.

Names of ours begin with `rh-`, `rh4-` or `rh6-`, or are `rh`; a route has a tag and an interface a description instead.
"""

from __future__ import annotations

import re

OWNER = "rh"
ROUTE_TAG = "29288"  # "rh" as a number: routes have no names
FABRIC = "fabric"  # what stands for loopback, uplinks and protection where ports are named

HOST_COMMUNITY = f"{OWNER}-host"
FABRIC_GROUP = f"{OWNER}-fabric"
FABRIC_EXPORT = f"{OWNER}-to-fabric"
CONTROL_POLICER = f"{OWNER}-control"

_OURS = re.compile(rf"{OWNER}|{OWNER}[46]?-.+")
# A port's name has a number, as none of ours has that is not a port's.
_OF_PORT = re.compile(rf"{OWNER}[46]-(?:(?:own|bgp|bgpx|from|to)-)?((?:[a-z]+-|ae)\d.*)")
_SHARED = (OWNER, HOST_COMMUNITY)


def is_ours(name: str) -> bool:
    """Whether an object that is called so is ours."""
    return _OURS.fullmatch(name) is not None


def describes_ours(description: str) -> bool:
    """Whether an interface with this description is ours."""
    return description.startswith(f"{OWNER} ")


def describes_fabric(description: str) -> bool:
    """Whether an interface with this description is ours and no host port."""
    return description.startswith((f"{OWNER} uplink ", f"{OWNER} loopback"))


def port_of_name(name: str) -> str:
    """The port that an object of ours belongs to; FABRIC; or nothing for what ports share."""
    if (found := _OF_PORT.fullmatch(name)) is not None:
        return found[1]
    return "" if name in _SHARED else FABRIC


def of_port(version: int, port: str, kind: str = "") -> str:
    """What a port's object is called: its filter and BGP group without a kind, else own, bgp, bgpx, from, to."""
    return f"{OWNER}{version}-{kind}-{port}" if kind else f"{OWNER}{version}-{port}"


def protection(version: int) -> str:
    """What the filter of what reaches the leaf itself is called."""
    return f"{OWNER}{version}-protect"


def peers(version: int) -> str:
    """What the list of all that the leaf speaks BGP with is called."""
    return f"{OWNER}{version}-peers"


def management(version: int) -> str:
    """What the list of where the leaf is managed from is called."""
    return f"{OWNER}{version}-management"

"""What the query of a request may hold, as the route table tells it and the OpenAPI document shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from service.store.device_lists import SORTABLE


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query. Empty is as good as not given; it is never required."""

    name: str
    meaning: str
    type: Literal["string", "integer", "number", "boolean"] = "string"
    allowed: tuple[str, ...] = ()
    format: str | None = None  # of a string, in JSON Schema's words: "uuid", "date-time"
    many: bool = False  # several, with commas or repeated

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        if self.allowed:
            return {"type": "string", "enum": [*self.allowed, ""]}
        found: dict[str, Any] = {"type": self.type}
        if self.format is not None:
            found["format"] = self.format
        if self.many:
            return {"type": "array", "items": found}
        return found if found == {"type": "string"} else {"anyOf": [found, {"const": ""}]}


def choice(name: str, meaning: str, *allowed: str) -> Parameter:
    """One word out of some."""
    return Parameter(name, meaning, allowed=allowed)


def flag(name: str, meaning: str) -> Parameter:
    """Yes or no."""
    return Parameter(name, meaning, "boolean")


def words(name: str, meaning: str) -> Parameter:
    """Any of several words."""
    return Parameter(name, meaning, many=True)


PAGES = (
    Parameter("page", "Which page, from 1 on.", "integer"),
    Parameter("per_page", "How many on a page: 10 where nothing else is said, 1000 at most; more is cut.", "integer"),
)
RESHAPE = (
    words("include", "References that become the objects that they refer to, `project.organization` three deep."),
    words("exclude", "Objects that become references."),
)
SEARCH = Parameter("search", "What the thing's name or value holds.")
DEVICES = (
    *PAGES,
    Parameter("search", "What hostname, description, plan, facility, operating system, tag, id or address hold."),
    Parameter("hostname", "This hostname."),
    words("facility", "At one of these facilities, by code or id."),
    words("metro", "In one of these metros, by code or id."),
    Parameter("tag", "With this tag."),
    words("state", "In one of these states."),
    words("plan", "Of one of these plans, by slug."),
    words("type", "The older name of `plan`."),
    Parameter("mac_address", "On the machine with this MAC address."),
    flag("reserved", "On reserved hardware."),
    flag("has_termination_time", "Given back by themselves at a time that is set."),
    choice("sort_by", "What they are sorted by.", *SORTABLE),
    choice("sort_direction", "Which comes first.", "asc", "desc"),
)
AFTER = Parameter("after", "Behind the event with this cursor, oldest first, without pages; 0 begins with the first.")
EVENTS = (
    *PAGES,
    Parameter("type", "Of this type: `provisioning.110`."),
    AFTER,
)
IPS = (
    *PAGES,
    words("type", "Of one of these types: public_ipv4, private_ipv4, public_ipv6, global_ipv4."),
    words("types", "As `type`."),
    flag("public", "Public ones, or private ones."),
    flag("ipv4", "With true: IPv4."),
    flag("ipv6", "With true: IPv6."),
    flag("management", "Those of devices' own links, or the elastic ones."),
    Parameter("tag", "With this tag."),
    words("facility", "At one of these facilities, by code."),
    words("metro", "In one of these metros, by code."),
)
VRF = Parameter("vrf", "In this VRF, by name.")
AT = Parameter("at", "As it was at this time.", format="date-time")
NODES = (
    VRF,
    Parameter("role", "Prefixes of this role."),
    Parameter("facility", "Prefixes of this facility, by code."),
    Parameter("prefix", "This prefix and what lies below it, by id or as CIDR."),
    Parameter("owner", "`provider`, or the id of an organization or project."),
    choice("format", "How the answer is written.", "json", "csv"),
)

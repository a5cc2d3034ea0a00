"""RFC 9083 as a checker: every rule that an answer of ours can break, with its section."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any
from urllib.parse import urlsplit

# IANA's RDAP JSON values, as registered by RFC 9083 §10.2 and RFC 8056.
STATUSES = {"validated", "locked", "active", "inactive", "associated", "proxy", "private", "removed", "obscured"}
ROLES = {"registrant", "technical", "administrative", "abuse", "billing", "registrar", "reseller", "sponsor", "proxy"}
ACTIONS = {"registration", "reregistration", "last changed", "expiration", "deletion", "transfer", "locked", "unlocked"}
RELATIONS = {"self", "up", "alternate", "about", "help", "related"}

_COMMON = {"rdapConformance", "notices", "remarks", "links", "events", "status", "lang", "port43", "entities"}
_MEMBERS = {
    "ip network": {"startAddress", "endAddress", "ipVersion", "name", "type", "country", "parentHandle", "cidr0_cidrs"},
    "autnum": {"startAutnum", "endAutnum", "name", "type", "country"},
    "entity": {"vcardArray", "roles", "publicIds", "asEventActor", "networks", "autnums"},
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def check(body: Any) -> None:
    """Fail an assertion where an answer breaks a rule."""
    assert isinstance(body, dict)
    # §4.1: the topmost object says what it conforms to, and names each extension whose members it uses.
    conformance = body["rdapConformance"]
    assert "rdap_level_0" in conformance and all(isinstance(one, str) for one in conformance)
    assert ("cidr0_cidrs" in body) <= ("cidr0" in conformance)
    if "errorCode" in body:
        check_error(body)
    elif "objectClassName" in body:
        check_object(body, topmost=True)
    else:
        check_notices(body["notices"])  # §7


def check_error(body: dict[str, Any]) -> None:
    """§6"""
    assert body.keys() <= {"rdapConformance", "errorCode", "title", "description", "notices", "lang"}
    assert isinstance(body["errorCode"], int) and isinstance(body["title"], str)
    assert isinstance(body["description"], list) and all(isinstance(line, str) for line in body["description"])


def check_notices(notices: Any) -> None:
    """§4.3"""
    assert isinstance(notices, list)
    for notice in notices:
        assert notice.keys() <= {"title", "type", "description", "links"}
        assert isinstance(notice["description"], list) and all(isinstance(line, str) for line in notice["description"])
        check_links(notice.get("links", []))


def check_links(links: Any) -> None:
    """§4.2: value, rel and href are there; URLs are absolute."""
    for link in links:
        assert link.keys() <= {"value", "rel", "href", "hreflang", "title", "media", "type"}
        assert link["rel"] in RELATIONS
        assert all(urlsplit(link[name]).scheme in ("http", "https") for name in ("value", "href"))


def check_object(one: dict[str, Any], *, topmost: bool = False) -> None:
    """§4 and §5"""
    name = one["objectClassName"]
    assert one.keys() <= _COMMON | _MEMBERS[name] | {"objectClassName", "handle"}
    assert topmost or not {"rdapConformance", "notices"} & one.keys()
    assert isinstance(one["handle"], str) and one["handle"]
    assert set(one.get("status", [])) <= STATUSES  # §4.6
    for event in one.get("events", []):  # §4.5
        assert event.keys() <= {"eventAction", "eventActor", "eventDate", "links"}
        assert event["eventAction"] in ACTIONS and _DATE.fullmatch(event["eventDate"])
        assert datetime.fromisoformat(event["eventDate"])
    check_links(one.get("links", []))
    for entity in one.get("entities", []):
        check_object(entity)
    {"ip network": check_network, "autnum": check_autnum, "entity": check_entity}[name](one)


def check_network(one: dict[str, Any]) -> None:
    """§5.4, and the extension cidr0: the prefixes are exactly the range."""
    first, last = ip_address(one["startAddress"]), ip_address(one["endAddress"])
    assert first <= last and one["ipVersion"] == f"v{first.version}"  # type: ignore[operator]
    assert str(first) == one["startAddress"] and str(last) == one["endAddress"]  # RFC 5952
    assert re.fullmatch("[A-Z]{2}", one.get("country", "XX"))
    told = [ip_network((part[f"v{first.version}prefix"], part["length"])) for part in one["cidr0_cidrs"]]
    assert told == list(summarize_address_range(first, last))


def check_autnum(one: dict[str, Any]) -> None:
    """§5.5: numbers, not text (RFC 5396)."""
    assert type(one["startAutnum"]) is int and type(one["endAutnum"]) is int
    assert 0 <= one["startAutnum"] <= one["endAutnum"] < 2**32


def check_entity(one: dict[str, Any]) -> None:
    """§5.1, and jCard (RFC 7095 §3.2, RFC 6350 §6.2.1: a version and a formatted name)."""
    assert one["roles"] and set(one["roles"]) <= ROLES
    title, properties = one["vcardArray"]
    assert title == "vcard" and properties[0] == ["version", {}, "text", "4.0"]
    assert all(len(part) >= 4 and isinstance(part[1], dict) and part[2] == "text" for part in properties)
    assert [part[3] for part in properties if part[0] == "fn"] != [""]
    assert len({part[0] for part in properties} & {"fn", "version"}) == 2

"""Registration data as RDAP tells it (RFC 9083): IP networks, autonomous systems, help and errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

from ipam.space import Network

Object = dict[str, Any]

CONTENT_TYPE = "application/rdap+json"  # RFC 7480 §4.2
_LEVEL, _CIDR0 = "rdap_level_0", "cidr0"  # RFC 9083 §4.1, and the extension for prefixes in IANA's registry


class BadQuery(ValueError):
    """The query is none that RDAP knows (RFC 7480 §5.4)."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody who answers for a registration; a handle is unique among contacts."""

    handle: str
    role: str  # "registrant", "abuse": RFC 9083 §10.2.4
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkRegistration:
    """A block with who answers for it. `changed` is None where nobody wrote down when it changed."""

    handle: str
    block: Network
    kind: str  # "ALLOCATED", "ASSIGNED"
    status: Sequence[str]  # RFC 9083 §10.2.2
    country: str | None
    registered: datetime
    changed: datetime | None
    contacts: Sequence[Contact]


@dataclass(frozen=True, slots=True)
class AsnRegistration:
    """A range of AS numbers, both ends included."""

    handle: str
    first: int
    last: int
    name: str
    registered: datetime
    contacts: Sequence[Contact]


def parse_block(parts: Sequence[str]) -> Network:
    """What `ip/ADDRESS` or `ip/ADDRESS/LENGTH` asks about (RFC 9082 §3.1.1). Raises BadQuery."""
    if not 1 <= len(parts) <= 2 or "%" in parts[0]:
        raise BadQuery("an IP query is ip/ADDRESS or ip/PREFIX/LENGTH")
    try:
        if len(parts) == 1:
            return ip_network(ip_address(parts[0]))
        if not (parts[1].isascii() and parts[1].isdecimal()):
            raise BadQuery(f"{parts[1]!r} is no prefix length")
        return ip_network((parts[0], int(parts[1][:4])))
    except BadQuery:
        raise
    except ValueError as err:
        raise BadQuery(str(err)) from None


def parse_asn(parts: Sequence[str]) -> int:
    """What `autnum/ASN` asks about: asplain (RFC 9082 §3.1.2, RFC 5396). Raises BadQuery."""
    if len(parts) != 1 or not (parts[0].isascii() and parts[0].isdecimal() and int(parts[0][:11]) < 1 << 32):
        raise BadQuery("an AS number query is autnum/NUMBER, a number of 32 bits in decimal")
    return int(parts[0])


def path_of(block: Network) -> str:
    """Where a block is asked for, below the base."""
    return f"ip/{block.network_address}/{block.prefixlen}"


def network(one: NetworkRegistration, up: NetworkRegistration | None, *, base: str, asked: str) -> Object:
    """An IP network (RFC 9083 §5.4). `base` is the server's URL, `asked` that of the query."""
    version = one.block.version
    body: Object = {
        "rdapConformance": [_LEVEL, _CIDR0],
        "objectClassName": "ip network",
        "handle": one.handle,
        "startAddress": str(one.block.network_address),
        "endAddress": str(one.block.broadcast_address),
        "ipVersion": f"v{version}",
        "type": one.kind,
        "status": list(one.status),
        "events": _events(one.registered, one.changed),
        "entities": _entities(one.contacts),
        "links": [_link("self", f"{base}/{path_of(one.block)}", asked)],
        "cidr0_cidrs": [{f"v{version}prefix": str(one.block.network_address), "length": one.block.prefixlen}],
    }
    if one.country is not None:
        body["country"] = one.country
    if up is not None:
        body["parentHandle"] = up.handle
        body["links"].append(_link("up", f"{base}/{path_of(up.block)}", asked))
    return body


def autnum(one: AsnRegistration, *, base: str, asked: str) -> Object:
    """A range of AS numbers (RFC 9083 §5.5)."""
    return {
        "rdapConformance": [_LEVEL],
        "objectClassName": "autnum",
        "handle": one.handle,
        "startAutnum": one.first,
        "endAutnum": one.last,
        "name": one.name,
        "status": ["active"],
        "events": _events(one.registered, None),
        "entities": _entities(one.contacts),
        "links": [_link("self", f"{base}/autnum/{one.first}", asked)],
    }


def help_(*, base: str, provider: str) -> Object:
    """What the server can be asked (RFC 9083 §7)."""
    return {
        "rdapConformance": [_LEVEL, _CIDR0],
        "notices": [
            {
                "title": "About this server",
                "description": [
                    f"It answers for the address space and the AS numbers of {provider or 'its operator'}.",
                    "It can be asked for ip/ADDRESS, ip/PREFIX/LENGTH, autnum/NUMBER and help.",
                ],
                "links": [_link("self", f"{base}/help", f"{base}/help")],
            }
        ],
    }


def error(code: int, title: str, *description: str) -> Object:
    """An error (RFC 9083 §6)."""
    return {
        "rdapConformance": [_LEVEL],
        "errorCode": code,
        "title": title,
        "description": list(description),
    }


def _link(rel: str, href: str, value: str) -> Mapping[str, str]:
    return {"value": value, "rel": rel, "href": href, "type": CONTENT_TYPE}


def _events(registered: datetime, changed: datetime | None) -> list[Object]:
    found = [{"eventAction": "registration", "eventDate": _date(registered)}]
    if changed is not None:
        found.append({"eventAction": "last changed", "eventDate": _date(changed)})
    return found


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _entities(contacts: Sequence[Contact]) -> list[Object]:
    return [
        {
            "objectClassName": "entity",
            "handle": contact.handle,
            "roles": [contact.role],
            "vcardArray": _vcard(contact),
        }
        for contact in contacts
    ]


def _vcard(contact: Contact) -> list[object]:
    """A contact as jCard (RFC 7095)."""
    properties: list[list[object]] = [
        ["version", {}, "text", "4.0"],
        ["fn", {}, "text", contact.name],
        ["kind", {}, "text", "org" if contact.role == "registrant" else "group"],
    ]
    if contact.email is not None:
        properties.append(["email", {}, "text", contact.email])
    return ["vcard", properties]


def handle_of(kind: str, block: Network) -> str:
    """A handle that says what it is of: NET-203.0.113.0-24."""
    return f"{kind}-{block.network_address}-{block.prefixlen}"

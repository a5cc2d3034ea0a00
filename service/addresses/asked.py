"""What requests to the address manager say: VRFs, blocks, times."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from ipam.prefixes import vrfs
from ipam.space import Network
from service.api.call import Call
from service.api.problems import Invalid, not_found, shown


async def vrf_names(call: Call) -> dict[int, str]:
    """The names of all VRFs by id."""
    return {id_: name for name, id_ in (await vrfs(call.db)).items()}


async def vrf_named(call: Call, name: str | None) -> int | None:
    """The VRF of that name; None for none. Raises Invalid, which says which there are."""
    if name is None:
        return None
    known = await vrfs(call.db)
    if name not in known:
        raise Invalid(f"Vrf is not valid: {shown(name)} is not one of {', '.join(known) or 'none'}")
    return known[name]


def block_of(field: str, value: str) -> Network:
    """A block from text. Raises Invalid, which names the field."""
    try:
        return ip_network(value)
    except ValueError as err:
        raise Invalid(f"{field} is not valid: {err}") from None


def address_in(call: Call) -> Network:
    """The path's address, as the block that it alone makes up. Raises Refused (404) for what is no address."""
    try:
        return ip_network(ip_address(call.ids["address"]))
    except ValueError:
        raise not_found() from None


def time_of(field: str, value: str) -> datetime:
    """A time from text, ISO 8601; without an offset it is UTC. Raises Invalid, which names the field."""
    try:
        found = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value.strip())
    except ValueError:
        raise Invalid(f"{field} is not valid: {shown(value)}; a time is written 2026-03-01T12:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def time_asked(call: Call, name: str) -> datetime | None:
    """A time of the query; None when it is missing."""
    value = call.word(name)
    return None if value is None else time_of(name.replace("_", " ").capitalize(), value)

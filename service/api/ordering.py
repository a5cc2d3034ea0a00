"""Turning a device order into a row: everything is checked first, then one transaction reserves and starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from images.catalogue import Catalogue
from images.native.contract import CannotExpress
from ipam.errors import IpamError
from service import intents
from service.api.call import Api, Call
from service.api.capacity_routes import places_of
from service.api.links import short
from service.api.models import CreateDevice
from service.api.objects import runs_on
from service.api.problems import Invalid, Refused, shown
from service.api.storage import StorageWish
from service.intents import order_limit
from service.native.rendering import try_out
from service.passwords import new_password, new_salt, sha512_crypt
from service.secrets import seal
from service.store.offers import Facility, Offers, Plan, free_capacity
from service.store.rows import Connection
from service.workflows.install import engine_for
from sql.loader import Q

_IPXE = "#!ipxe"
_HOST_LINK = 31  # the mask length of the IPv4 links that every device gets
_HOST_LINK6 = 127


@dataclass(frozen=True, slots=True)
class Draft:
    """An order whose every field is known to be good; whether there is a machine for it is not known yet."""

    wish: CreateDevice
    plan: Plan
    system: str
    places: list[Facility]  # in order of preference
    in_order: bool  # False: the place with the most free machines is as good as any other
    where: str  # "facility" or "metro": what the customer named


def draft_of(wish: CreateDevice, offers: Offers, catalogue: Catalogue) -> Draft:
    """Check an order against what is on offer. Raises Refused (422) with all that is wrong with it at once."""
    errors: list[str] = []
    plan = offers.plan(wish.plan) if wish.plan else None
    if plan is None:
        slugs = ", ".join(one.slug for one in offers.plans)
        errors.append(
            f"Plan is not valid: {shown(wish.plan)} is not one of {slugs}" if wish.plan else "Plan can't be blank"
        )
    system = offers.system(wish.operating_system) if wish.operating_system else None
    if system is None:
        slugs = ", ".join(offers.system_ids)
        errors.append(
            f"Operating system is not valid: {shown(wish.operating_system)} is not one of {slugs}"
            if wish.operating_system
            else "Operating system can't be blank"
        )
    elif plan is not None and not runs_on(catalogue.get(system), plan):
        errors.append(f"Operating system is not valid: {system} does not run on {plan.slug}")
    places: list[Facility] = []
    try:
        places = _places(wish, offers)
    except Refused as refused:
        errors += refused.errors
    errors += ipxe_errors(catalogue, system, wish.ipxe_script_url, wish.userdata)
    errors += engine_errors(catalogue, system, wish.engine, wish.storage)
    if system is not None and not errors:
        wanted = wish.storage or StorageWish()
        errors += install_errors(catalogue, system, wish.engine, wanted, wish.hostname, wish.userdata or "")
    errors += _not_here(wish)
    if errors or plan is None or system is None:
        raise Invalid(*errors)
    named = [name for name in wish.facility if name != "any"]
    return Draft(wish, plan, system, places, bool(named), "facility" if wish.facility else "metro")


def _places(wish: CreateDevice, offers: Offers) -> list[Facility]:
    if not wish.facility:
        return places_of(offers, None, wish.metro)
    found = [place for name in wish.facility for place in places_of(offers, name, None)]
    return list({place.id: place for place in found}.values())


def ipxe_errors(catalogue: Catalogue, system: str | None, script_url: str | None, userdata: str | None) -> list[str]:
    """What is wrong with a script of the customer's own, or with the lack of one."""
    if system is None:
        return []
    if catalogue.get(system).engine != "ipxe":
        wrong = script_url is not None
        return [f"Ipxe script url is not valid: {system} does not take one; allowed with custom_ipxe"] if wrong else []
    if script_url is None and not (userdata or "").startswith(_IPXE):
        return [f"Ipxe script url can't be blank: {system} needs it, or userdata that begins with {_IPXE}"]
    return []


def engine_errors(
    catalogue: Catalogue, system: str | None, engine: str | None, storage: StorageWish | None
) -> list[str]:
    """What is wrong with the way in which a system is to be installed."""
    if system is None:
        return []
    allowed = [one for one in catalogue.get(system).engines if one != "ipxe"]
    errors = []
    if engine is not None and engine not in allowed:
        errors.append(
            f"Engine is not valid: {shown(engine)}; allowed for {system} are {', '.join(allowed)}"
            if allowed
            else f"Engine is not valid: {shown(engine)}; {system} is not installed by us"
        )
    if storage is not None and not allowed:
        errors.append(f"Storage is not valid: {system} is not installed by us; allowed is none")
    return errors


def install_errors(
    catalogue: Catalogue, system: str, engine: str | None, storage: StorageWish, hostname: str | None, userdata: str
) -> list[str]:
    """What of an order no machine could be given, tried out before one is looked for."""
    way = engine_for(catalogue, system, engine)
    if way == "ipxe":
        return []
    try:
        try_out(catalogue.get(system), way, storage.kept() | {"passphrase": storage.passphrase}, hostname, userdata)
    except CannotExpress as err:
        return [f"{way.capitalize()} engine cannot do that: {err}"]
    return []


def _not_here(wish: CreateDevice) -> list[str]:
    """Wishes of the dialect that this service cannot fulfil; a device without them would not be what was ordered."""
    errors = []
    for name, size in (
        ("Public ipv4 subnet size", wish.public_ipv4_subnet_size),
        ("Private ipv4 subnet size", wish.private_ipv4_subnet_size),
    ):
        if size not in (None, _HOST_LINK):
            errors.append(f"{name} is not valid: {size}; allowed is {_HOST_LINK}")
    if wish.ip_addresses is not None:
        wanted = {(one.address_family, one.public) for one in wish.ip_addresses}
        if wanted != {(4, True), (4, False), (6, True)}:
            errors.append("Ip addresses is not valid: allowed are public IPv4, private IPv4 and public IPv6 together")
        for one in wish.ip_addresses:
            length = _HOST_LINK if one.address_family == 4 else _HOST_LINK6
            if one.cidr not in (None, length) or one.ip_reservations:
                errors.append(f"Ip addresses is not valid: allowed are blocks of /{length} without a reservation")
    if wish.hardware_reservation_id is not None:
        errors.append(f"Hardware reservation is not valid: {shown(wish.hardware_reservation_id)} is not yours")
    if wish.spot_instance:
        errors.append("Spot instance is not valid: True; allowed is false")
    if wish.termination_time is not None:
        errors.append(f"Termination time is not valid: {shown(wish.termination_time)}; allowed is none")
    return errors


async def place_order(conn: Connection, call: Call, project: Mapping[str, Any], draft: Draft, device_id: UUID) -> None:
    """Insert the device and start its course, in the caller's transaction.

    Raises Refused (422) without a free machine or address.
    """
    api, wish, now = call.api, draft.wish, call.api.clock.now()
    key_ids, keys = await _ssh_keys(conn, project, wish)
    place = await _free_place(conn, draft)
    password = new_password()
    storage = wish.storage or StorageWish()
    native = engine_for(api.catalogue, draft.system, wish.engine) == "native"
    await conn.execute(
        Q["add_device"],
        device_id,
        project["id"],
        place.id,
        draft.plan.id,
        draft.system,
        wish.hostname or f"{short(device_id)}.{place.code}.internal",
        wish.description,
        wish.tags,
        wish.customdata,
        wish.userdata or "",
        wish.ipxe_script_url,
        bool(wish.always_pxe),
        bool(wish.locked),
        wish.billing_cycle or "hourly",
        key_ids,
        keys,
        seal(api.key, password),
        sha512_crypt(password, new_salt()),
        call.caller.user_id,
        now,
        now + order_limit(api.settings, native=native),
        wish.engine,
        storage.kept(),
        seal(api.key, storage.passphrase) if storage.passphrase else None,
    )
    await _start(conn, api, device_id)


async def _start(conn: Connection, api: Api, device_id: UUID) -> None:
    try:
        await intents.order_device(conn, device_id, settings=api.settings, clock=api.clock)
    except IpamError as err:
        raise Invalid(f"There aren't available addresses in that facility: {err}") from None


async def _free_place(conn: Connection, draft: Draft) -> Facility:
    # One order of a plan at a time: so many orders are taken as there are machines, however many come at once.
    await conn.execute(Q["lock_capacity"], str(draft.plan.id))
    counts = await free_capacity(conn)
    free = {place.id: counts.get((place.id, draft.plan.id), 0) for place in draft.places}
    ranked = draft.places if draft.in_order else sorted(draft.places, key=lambda place: -free[place.id])
    for place in ranked:
        if free[place.id] > 0:
            return place
    codes = ", ".join(place.code for place in draft.places)
    raise Invalid(f"There aren't available servers in that {draft.where}: no {draft.plan.slug} is ready in {codes}")


async def _ssh_keys(conn: Connection, project: Mapping[str, Any], wish: CreateDevice) -> tuple[list[UUID], list[str]]:
    """Ids and lines of the keys that may log in: those named, or all of the project and its members."""
    if wish.no_ssh_keys:
        return [], []
    inline = [one.key for one in wish.ssh_keys or []]
    rows = await conn.fetch(Q["ssh_keys_for_project"], project["organization_id"], project["id"])
    if wish.user_ssh_keys or wish.project_ssh_keys or inline:
        owners = {row["user_id"] for row in rows}
        ids = {row["id"] for row in rows}
        errors = [
            f"User ssh keys is not valid: '{id_}' is no member of the project with an SSH key"
            for id_ in wish.user_ssh_keys
            if id_ not in owners
        ]
        errors += [
            f"Project ssh keys is not valid: '{id_}' is no SSH key of the project or its members"
            for id_ in wish.project_ssh_keys
            if id_ not in ids
        ]
        if errors:
            raise Invalid(*errors)
        rows = [row for row in rows if row["user_id"] in wish.user_ssh_keys or row["id"] in wish.project_ssh_keys]
    lines = list(dict.fromkeys([*(row["key"] for row in rows), *inline]))
    return [row["id"] for row in rows], lines

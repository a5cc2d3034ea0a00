"""Turning a device order into a row: everything is checked first, then one transaction reserves and starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from images.catalogue import Catalogue
from images.native.contract import CannotExpress
from ipam.errors import IpamError
from service import intents
from service.api.capacity_routes import places_of
from service.api.links import short
from service.api.models import CreateDevice
from service.api.objects import runs_on
from service.api.problems import Invalid, Refused, shown
from service.api.storage import StorageWish
from service.clock import Clock
from service.forecast import Took, pools, times_of, usual
from service.intents import order_limit
from service.native.rendering import try_out
from service.passwords import new_password, new_salt, sha512_crypt
from service.policy import USING_ROLES
from service.secrets import KeyRing, seal
from service.settings import Settings
from service.ssh_keys import parse_public_key
from service.store.offers import Facility, Offers, Plan, free_capacity
from service.store.quotas import OverQuota, Use, keep_within
from service.store.reservations import Usable, usable_reservations
from service.store.rows import Connection
from service.store.spot import record_price, spot_prices
from service.workflows.install import engine_for
from sql.loader import Q

NEXT = "next-available"  # whichever of the project's reservations fits

_IPXE = "#!ipxe"
_LONGEST_DEADLINE_S = 30 * 86400
_HOST_LINK = 31  # the mask length of the IPv4 links that every device gets
_HOST_LINK6 = 127
_LINKS = {(4, True): "public", (4, False): "private", (6, True): "ipv6"}  # by address family and whether it is public


class Ground(Protocol):
    """What orders are placed on: the API's process, or a worker's."""

    @property
    def settings(self) -> Settings:
        """The process's settings."""

    @property
    def catalogue(self) -> Catalogue:
        """The operating systems."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def key(self) -> KeyRing:
        """Seals passwords."""


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
    errors += _spot_errors(wish)
    errors += _deadline_errors(wish)
    if errors or plan is None or system is None:
        raise Invalid(*errors)
    named = [name for name in wish.facility if name != "any"]
    return Draft(wish, plan, system, places, bool(named), "facility" if wish.facility else "metro")


def _places(wish: CreateDevice, offers: Offers) -> list[Facility]:
    if not wish.facility:
        # Reserved hardware is where it is: naming its place once more is not asked for.
        return places_of(offers, "any" if wish.hardware_reservation_id and not wish.metro else None, wish.metro)
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
        if (6, False) in wanted:
            errors.append(
                "Ip addresses is not valid: private IPv6; allowed are public IPv4, private IPv4 and public IPv6"
            )
        if wanted and (4, False) not in wanted:
            errors.append("Ip addresses is not valid: every device needs a private IPv4 address")
        for one in wish.ip_addresses:
            length = _HOST_LINK if one.address_family == 4 else _HOST_LINK6
            if one.cidr not in (None, length) or one.ip_reservations:
                errors.append(f"Ip addresses is not valid: allowed are blocks of /{length} without a reservation")
    return errors


def _spot_errors(wish: CreateDevice) -> list[str]:
    if not wish.spot_instance:
        return []
    errors = []
    if wish.spot_price_max is None:
        errors.append("Spot price max can't be blank: a spot instance needs the most that it may cost an hour")
    if wish.hardware_reservation_id is not None:
        errors.append("Spot instance is not valid: True; allowed with a hardware reservation is false")
    if wish.locked:
        errors.append("Locked is not valid: True; allowed for a spot instance, which may be taken back, is false")
    return errors


def _deadline_errors(wish: CreateDevice) -> list[str]:
    deadline = wish.deadline
    if deadline is None:
        return []
    if isinstance(deadline, float) and not 0 < deadline <= _LONGEST_DEADLINE_S:
        return [f"Deadline is not valid: {deadline:g}; allowed are up to {_LONGEST_DEADLINE_S} seconds, or a time"]
    return []


def termination_error(moment: datetime | None, now: datetime) -> list[str]:
    """What is wrong with the time at which a device is to end by itself."""
    if moment is None or moment > now:
        return []
    return [f"Termination time is not valid: {shown(moment.isoformat())} is over; allowed is a time to come"]


def links_of(wish: CreateDevice) -> list[str]:
    """The slots in the ledger of the links that a device is ordered with; all of them when none is named."""
    named = {_LINKS[one.address_family, one.public] for one in wish.ip_addresses or []}
    return [slot for slot in _LINKS.values() if slot in named or not named]


async def place_order(
    conn: Connection,
    ground: Ground,
    project: Mapping[str, Any],
    draft: Draft,
    device_id: UUID,
    *,
    created_by: UUID | None,
    spot_request: UUID | None = None,
) -> None:
    """Insert the device and start its course, in the caller's transaction.

    Raises Refused (422) without a free machine or address.
    """
    wish, now = draft.wish, ground.clock.now()
    if errors := termination_error(wish.termination_time, now):
        raise Invalid(*errors)
    try:
        await keep_within(conn, project["organization_id"], project["id"], Use(devices=1))
    except OverQuota as err:
        raise Invalid(f"Device is not valid: {err}") from None
    key_ids, keys = await _ssh_keys(conn, project, wish)
    reserved = bid = None
    if wish.hardware_reservation_id is not None:
        reserved = await _reserved(conn, project["id"], draft, wish.hardware_reservation_id)
        place = next(one for one in draft.places if one.id == reserved.facility_id)
    elif wish.spot_instance and wish.spot_price_max is not None:
        bid = wish.spot_price_max
        place = await _admitted(conn, ground, await _affordable(conn, draft, bid, now), project["id"], now)
    else:
        place = await _admitted(conn, ground, draft, project["id"], now)
    password = new_password()
    storage = wish.storage or StorageWish()
    native = engine_for(ground.catalogue, draft.system, wish.engine) == "native"
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
        seal(ground.key, password),
        sha512_crypt(password, new_salt()),
        created_by,
        now,
        until(wish.deadline, now) or now + order_limit(ground.settings, native=native),
        wish.engine,
        storage.kept(),
        seal(ground.key, storage.passphrase) if storage.passphrase else None,
        None if reserved is None else reserved.id,
        wish.termination_time,
        bid,
        spot_request,
        links_of(wish),
        until(wish.deadline, now),
    )
    try:
        await intents.order_device(conn, device_id, settings=ground.settings, clock=ground.clock)
    except IpamError as err:
        raise Invalid(f"There aren't available addresses in that facility: {err}") from None


async def _reserved(conn: Connection, project_id: UUID, draft: Draft, named: str) -> Usable:
    """The project's reservation that is meant, locked, with its machine ready. Raises Refused (422)."""
    found = await usable_reservations(conn, project_id, None if named == NEXT else named)
    fitting = [one for one in found if one.plan_id == draft.plan.id]
    for place in draft.places:
        for one in fitting:
            if one.facility_id == place.id and one.why_not is None:
                return one
    said = f"Hardware reservation is not valid: {shown(named)}"
    if named == NEXT:
        codes = ", ".join(place.code for place in draft.places)
        raise Invalid(f"{said}: no reserved {draft.plan.slug} of the project is free in {codes}")
    if not found:
        raise Invalid(f"{said} is not one of the project's, nor {NEXT}")
    if not fitting:
        raise Invalid(f"{said} is no {draft.plan.slug}")
    raise Invalid(f"{said}: {fitting[0].why_not or 'it is at none of the places that the order names'}")


async def _affordable(conn: Connection, draft: Draft, bid: Decimal, now: datetime) -> Draft:
    """The draft with those places alone where the bid is enough. Raises Refused (422) when there is none."""
    prices = await spot_prices(conn)
    asked = {place.id: prices.get((place.id, draft.plan.id)) for place in draft.places}
    places = [place for place in draft.places if (price := asked[place.id]) is not None and price <= bid]
    if not places:
        told = ", ".join(f"{place.code} {asked[place.id]}" for place in draft.places if asked[place.id] is not None)
        raise Invalid(f"Spot price max is not valid: {bid} for {draft.plan.slug}; asked now: {told or 'there is none'}")
    for place in places:  # what is paid from the first second on is written down before it
        await record_price(conn, place.id, draft.plan.id, prices[place.id, draft.plan.id], now=now)
    return replace(draft, places=places)


def until(deadline: float | datetime | None, now: datetime) -> datetime | None:
    """A deadline as a moment, whichever way it was told."""
    return now + timedelta(seconds=deadline) if isinstance(deadline, float) else deadline


async def _admitted(conn: Connection, ground: Ground, draft: Draft, project_id: UUID, now: datetime) -> Facility:
    """The place that the order goes to. Raises Refused (422) where none has a machine now, or in the order's time."""
    # One order of a plan at a time: so many orders are taken as there are machines, however many come at once.
    await conn.execute(Q["lock_capacity"], str(draft.plan.id))
    deadline = until(draft.wish.deadline, now)
    try:
        place, start = await _free_place(conn, draft), now
    except Invalid as refused:
        place, start = await _earliest(conn, draft, project_id, now, *refused.errors)
        if deadline is None:
            eta = start + timedelta(seconds=(await _usual(conn, ground, draft)).p50_s)
            raise Invalid(f"{refused.errors[0]}, not before {eta:%H:%M} UTC: a later deadline waits for it") from None
    if deadline is None:
        return place
    took = await _usual(conn, ground, draft)
    # A machine is there, and nobody knows how long it takes: that is no reason to refuse it.
    eta = start + timedelta(seconds=took.p50_s if took.measured or start > now else 0)
    if eta > deadline:
        allowed = f"allowed is not before {eta:%Y-%m-%d %H:%M:%S} UTC, for {draft.plan.slug} with {draft.system}"
        raise Invalid(f"Deadline is not valid: {deadline:%Y-%m-%d %H:%M:%S} UTC; {allowed}")
    return place


async def _earliest(
    conn: Connection, draft: Draft, project_id: UUID, now: datetime, *why: str
) -> tuple[Facility, datetime]:
    """Where a machine is expected first, and when. Raises Refused (422) with `why` where none is."""
    found = await pools(conn, [place.id for place in draft.places], draft.plan.id, project_id, now=now)
    starts = [(start, place) for place in draft.places if (start := found[place.id].start(now)) is not None]
    if not starts:
        raise Invalid(*why)
    start, place = min(starts, key=lambda one: one[0])
    return place, start


async def _usual(conn: Connection, ground: Ground, draft: Draft) -> Took:
    """How long it takes from a machine to an active device."""
    native = engine_for(ground.catalogue, draft.system, draft.wish.engine) == "native"
    limit_s = order_limit(ground.settings, native=native).total_seconds()
    return usual(await times_of(conn, "provision"), draft.plan.id, draft.system, limit_s)


async def _free_place(conn: Connection, draft: Draft) -> Facility:
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
    rows = await conn.fetch(Q["ssh_keys_for_project"], project["organization_id"], project["id"], USING_ROLES)
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
    lines = list(dict.fromkeys(parse_public_key(key).line for key in (*(row["key"] for row in rows), *inline)))
    return [row["id"] for row in rows], lines

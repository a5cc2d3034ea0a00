"""Turning a checked order into a row: one transaction finds its place, reserves what it needs and starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from images.catalogue import Catalogue
from ipam.errors import IpamError
from service import intents
from service.api.drafts import Draft, links_of, termination_error
from service.api.links import short
from service.api.models import CreateDevice
from service.api.problems import Invalid, shown
from service.api.storage import StorageWish
from service.clock import Clock
from service.forecast import Lately, Took, pools, usual
from service.intents import order_limit
from service.limits import limits_of
from service.passwords import new_password, new_salt, sha512_crypt
from service.policy import USING_ROLES
from service.secrets import KeyRing, seal
from service.settings import Settings
from service.ssh_keys import parse_public_key
from service.store.offers import Facility, free_capacity
from service.store.quotas import OverQuota, Use, keep_within
from service.store.reservations import Usable, usable_reservations
from service.store.rows import Connection
from service.store.spot import record_price, spot_prices
from service.workflows.install import engine_for
from sql.loader import Q

NEXT = "next-available"  # whichever of the project's reservations fits


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

    @property
    def lately(self) -> Lately:
        """What courses took."""


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
    storage = wish.storage or StorageWish()
    native = engine_for(ground.catalogue, draft.system, wish.engine) == "native"
    password = new_password()
    sealed, hashed = seal(ground.key, password), sha512_crypt(password, new_salt())
    reserved = bid = None  # from here on other orders of the plan wait for this one
    if wish.hardware_reservation_id is not None:
        reserved = await _reserved(conn, project["id"], draft, wish.hardware_reservation_id)
        place = next(one for one in draft.places if one.id == reserved.facility_id)
    elif wish.spot_instance and wish.spot_price_max is not None:
        bid = wish.spot_price_max
        place = await _admitted(conn, ground, await _affordable(conn, draft, bid, now), project["id"], now)
    else:
        place = await _admitted(conn, ground, draft, project["id"], now)
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
        sealed,
        hashed,
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
        place, start = await _earliest(conn, ground, draft, project_id, now, *refused.errors)
        if deadline is None:
            took = await _usual(conn, ground, draft, now)
            # By its limits alone nothing is known but when there is a machine.
            eta = start + timedelta(seconds=took.p50_s if took.measured else 0)
            raise Invalid(f"{refused.errors[0]}, not before {eta:%H:%M} UTC: a later deadline waits for it") from None
    if deadline is None:
        return place
    took = await _usual(conn, ground, draft, now)
    # A machine is there, and nobody knows how long it takes: that is no reason to refuse it.
    eta = start + timedelta(seconds=took.p50_s if took.measured or start > now else 0)
    if eta > deadline:
        allowed = f"allowed is not before {eta:%Y-%m-%d %H:%M:%S} UTC, for {draft.plan.slug} with {draft.system}"
        raise Invalid(f"Deadline is not valid: {deadline:%Y-%m-%d %H:%M:%S} UTC; {allowed}")
    return place


async def _earliest(
    conn: Connection, ground: Ground, draft: Draft, project_id: UUID, now: datetime, *why: str
) -> tuple[Facility, datetime]:
    """Where a machine is expected first, and when. Raises Refused (422) with `why` where none is."""
    places = [place.id for place in draft.places]
    found = await pools(conn, ground.lately, places, draft.plan.id, project_id, now=now)
    starts = [(start, place) for place in draft.places if (start := found[place.id].start(now)) is not None]
    if not starts:
        raise Invalid(*why)
    start, place = min(starts, key=lambda one: one[0])
    return place, start


async def _usual(conn: Connection, ground: Ground, draft: Draft, now: datetime) -> Took:
    """How long it takes from a machine to an active device."""
    limits = limits_of(ground.catalogue, ground.settings, draft.system, draft.wish.engine)
    times = await ground.lately.times_of(conn, "provision", now=now)
    return usual(times, draft.plan.id, draft.system, limits)


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

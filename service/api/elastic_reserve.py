"""Reserving elastic blocks: which prefix serves a wish, and the label that a reservation is known by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import Field

from ipam.errors import NoTenure, PrefixClosed, PrefixExhausted
from ipam.ledger import Tenure, Want, give_back_one, no_block, take_all
from ipam.prefixes import Prefix, prefix_by_id
from service.api.call import Body, Call
from service.api.capacity_routes import places_of
from service.api.device_view import scenery_of
from service.api.idempotency import check_same, digest_of, id_of_key
from service.api.ip_objects import elastic_reservation
from service.api.models import Custom, Maybe, Request, Tags, Text, read
from service.api.problems import Invalid, not_found, shown
from service.api.scenery import Scenery
from service.bgp import bgp_changed
from service.store.elastic import reservations, set_label
from service.store.offers import Offers
from service.store.quotas import OverQuota, Use, keep_within, limited
from sql.loader import Q

_LENGTHS = {4: (24, 32), 6: (48, 128)}  # of the blocks that can be reserved
_GLOBAL = "global_ipv4"


class Reserve(Request):
    """A block for a project. `quantity` counts its addresses, `cidr` is its prefix length: one of them is enough."""

    type: Literal["public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4"]
    quantity: Maybe[Annotated[int, Field(ge=1)]] = None
    cidr: Maybe[int] = None
    facility: Maybe[Text] = None
    metro: Maybe[Text] = None
    details: Maybe[Text] = None
    tags: Tags = Field(default_factory=list)
    customdata: Custom = Field(default_factory=dict)


def _length(wish: Reserve) -> int:
    """The prefix length of the wanted block. Raises Refused (422)."""
    version = 6 if wish.type == "public_ipv6" else 4
    shortest, longest = _LENGTHS[version]
    most = 2 ** (longest - shortest)
    allowed = f"powers of two up to {most}" if most < 1 << 16 else f"powers of two up to 2^{longest - shortest}"
    by_quantity = None
    if wish.quantity is not None:
        if wish.quantity & (wish.quantity - 1) or wish.quantity > most:
            raise Invalid(f"Quantity is not valid: {shown(wish.quantity)}; allowed are {allowed}")
        by_quantity = longest - wish.quantity.bit_length() + 1
    if wish.cidr is not None and not shortest <= wish.cidr <= longest:
        raise Invalid(f"Cidr is not valid: {wish.cidr}; allowed are {shortest} to {longest}")
    if wish.cidr is not None and by_quantity not in (None, wish.cidr):
        raise Invalid(f"Quantity is not valid: {wish.quantity} addresses are a /{by_quantity} and no /{wish.cidr}")
    length = by_quantity if wish.cidr is None else wish.cidr
    if length is None:
        raise Invalid("Quantity can't be blank")
    return length


def _places(wish: Reserve, offers: Offers) -> list[str | None]:
    """The codes of the facilities that will do; None alone stands for everywhere."""
    if wish.type != _GLOBAL:
        return [place.code for place in places_of(offers, wish.facility, wish.metro)]
    if wish.facility or wish.metro:
        field, value = ("Facility", wish.facility) if wish.facility else ("Metro", wish.metro)
        raise Invalid(f"{field} is not valid: {shown(value)}; allowed is none: {_GLOBAL} is of all")
    return [None]


async def reserve(call: Call) -> Body:
    """POST /projects/{project}/ips: a block for the project, out of its own or granted prefixes first

    Private space is an elastic prefix inside RFC 1918, global space one of the role anycast.
    """
    project = await call.db.fetchrow(Q["lock_project"], *call.caller.scope, call.id("project"))
    if project is None:
        raise not_found()
    wish, scenery = read(Reserve, call.body), await scenery_of(call)
    length, places = _length(wish), _places(wish, scenery.offers)
    if (earlier := await _reserved_before(call)) is not None:
        return await reservation_shown(call, earlier, scenery)
    tenure = await _take(call, wish, project, places, length)
    id_ = await _labelled(call, wish, project["id"], tenure)
    await bgp_changed(call.db, project["id"], now=call.api.clock.now())
    return await reservation_shown(call, id_, scenery)


async def _reserved_before(call: Call) -> UUID | None:
    if (key := id_of_key(call)) is None or (row := await call.db.fetchrow(Q["label_of_request"], key)) is None:
        return None
    check_same(call, row["request"])
    id_: UUID = row["id"]
    return id_


async def _take(
    call: Call, wish: Reserve, project: Mapping[str, Any], places: Sequence[str | None], length: int
) -> Tenure:
    """The block, committed; from the first place that has one. Raises Refused (422)."""
    slot, cool_down = f"elastic {id_of_key(call) or uuid4()}", timedelta(seconds=call.api.settings.cool_down_s)
    reasons = []
    for code in places:
        row = (wish.type, code, project["id"], project["organization_id"], call.caller.user_id)
        ids = [found["id"] for found in await call.db.fetch(Q["elastic_prefixes"], *row)]
        if not ids:
            reasons.append(f"{code or 'no facility'} has no elastic prefix for {wish.type}")
            continue
        note = {} if code is None else {"facility": code}
        want = Want(project["id"], slot, call.caller.actor, project["id"], note)
        prefixes = [await prefix_by_id(call.db, id_) for id_ in ids]
        try:
            if await limited(call.db, project["organization_id"], project["id"]):
                return await _take_within(call, project, prefixes, want, cool_down, length)
            return await call.api.committer.take(prefixes, want, cool_down=cool_down, length=length)
        except (PrefixExhausted, PrefixClosed) as err:
            reasons.append(str(err))
    where = "metro" if wish.metro and not wish.facility else "facility"
    raise Invalid(f"There aren't available addresses in that {where}: {'; '.join(reasons)}")


async def _take_within(
    call: Call,
    project: Mapping[str, Any],
    prefixes: Sequence[Prefix],
    want: Want,
    cool_down: timedelta,
    length: int,
) -> Tenure:
    """The block, committed, where a quota is kept: in a transaction of its own, which keeps others out."""
    version = prefixes[0].cidr.version
    more = Use(elastic_ipv4=2 ** (32 - length)) if version == 4 else Use(elastic_ipv6=2 ** max(0, 64 - length))
    async with call.db.acquire() as conn, conn.transaction():
        try:
            await keep_within(conn, project["organization_id"], project["id"], more)
        except OverQuota as err:
            raise Invalid(f"Quantity is not valid: {err}") from None
        now = call.api.clock.now()
        (held,) = await take_all(conn, prefixes, [want], now=now, cool_down=cool_down, length=length)
        if held is None:
            raise await no_block(conn, prefixes, want.slot, now=now, cool_down=cool_down, length=length)
        return held


async def _labelled(call: Call, wish: Reserve, project_id: UUID, tenure: Tenure) -> UUID:
    """Write down what is said of a new reservation; the id of the one that the request has made.

    A process that dies before this leaves a reservation without details, which the request completes when it comes
    again with its key.
    """
    # The project may be being deleted, and have found nothing: the lock waits for that. Later on it finds this, and
    # has released it already.
    if not await call.db.fetchval(Q["lock_project_row"], project_id):
        with suppress(NoTenure):
            async with call.db.acquire() as conn, conn.transaction():
                await give_back_one(conn, tenure.id, now=call.api.clock.now(), by=call.caller.actor)
        raise not_found()
    key = id_of_key(call)
    await set_label(
        call.db,
        tenure.id,
        details=wish.details,
        tags=wish.tags,
        customdata=wish.customdata,
        request_key=key,
        request=None if key is None else digest_of(call),
    )
    return tenure.id if key is None else await _reserved_before(call) or tenure.id


async def reservation_shown(call: Call, id_: UUID, scenery: Scenery) -> Body:
    """A reservation as the caller sees it. Raises Refused (404)."""
    found = await reservations(call.db, call.caller, [id_], ended_too=True)
    if not found:
        raise not_found()
    return elastic_reservation(found[0], scenery)

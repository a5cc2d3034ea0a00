"""An order as it is asked for: everything that can be said of it without a machine is checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from images.catalogue import Catalogue
from images.native.contract import CannotExpress
from service.api.capacity_routes import places_of
from service.api.models import CreateDevice
from service.api.objects import runs_on
from service.api.problems import Invalid, Refused, shown
from service.api.storage import StorageWish
from service.native.rendering import try_out
from service.store.offers import Facility, Offers, Plan
from service.workflows.install import engine_for

_IPXE = "#!ipxe"
_LONGEST_DEADLINE_S = 30 * 86400
_HOST_LINK = 31  # the mask length of the IPv4 links that every device gets
_HOST_LINK6 = 127
_LINKS = {(4, True): "public", (4, False): "private", (6, True): "ipv6"}  # by address family and whether it is public


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

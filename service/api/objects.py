"""Rows as the dialect's objects. All keys are always there: clients index them."""

from __future__ import annotations

from typing import Any

from images.catalogue import Catalogue, System
from service.api.links import Links, short, stamp
from service.store.accounts import Organization, Project, SshKey, User
from service.store.bgp import BgpSession
from service.store.offers import Facility, Offers, Plan
from service.store.orders import Event

Object = dict[str, Any]


def metro(one: Facility, links: Links) -> Object:
    """The metro that a facility is in."""
    return {
        "id": str(one.metro_id),
        "name": one.metro_name,
        "code": one.metro_code,
        "country": one.country,
        "href": links.href("locations/metros", one.metro_id),
    }


def facility(one: Facility, links: Links) -> Object:
    """A facility with its metro."""
    return {
        "id": str(one.id),
        "name": one.name,
        "code": one.code,
        "features": ["baremetal"],
        "address": {"href": f"#{one.id}"},
        "ip_ranges": one.ip_ranges,
        "metro": metro(one, links),
        "href": links.href("facilities", one.id),
    }


def plan(one: Plan, offers: Offers, links: Links) -> Object:
    """A plan; `class` is its newer name when it is known by two."""
    places = [place for place in offers.facilities if place.id in one.facility_ids]
    return {
        "id": str(one.id),
        "slug": one.slug,
        "name": one.name,
        "description": one.description,
        "line": "baremetal",
        "legacy": False,
        "class": one.slug,
        "type": "standard",
        "categories": ["compute"],
        "deployment_types": ["on_demand"],
        "pricing": {"hour": float(one.price_hourly)},
        "specs": {key: value for key, value in one.specs.items() if key != "arch"},
        "available_in": [links.to("facilities", place.id) for place in places],
        "available_in_metros": [
            links.to("locations/metros", id_) for id_ in dict.fromkeys(place.metro_id for place in places)
        ],
        "href": links.href("plans", one.id),
    }


def operating_system(entry: System, offers: Offers, links: Links) -> Object:
    """An entry of the catalogue, with the plans whose machines it runs on."""
    id_ = offers.system_ids.get(entry.slug) or offers.withdrawn_ids[entry.slug]
    return {
        "id": str(id_),
        "slug": entry.slug,
        "name": entry.name,
        "distro": entry.distro,
        "version": entry.version,
        "provisionable_on": [one.slug for one in offers.plans if runs_on(entry, one)],
        "preinstallable": False,
        "licensed": False,
        "pricing": {},
        "href": links.href("operating-systems", id_),
    }


def entry_of(slug: str, catalogue: Catalogue) -> System:
    """The catalogue's entry; for one that was withdrawn while devices have it, what its slug tells."""
    if slug in catalogue:
        return catalogue.get(slug)
    distro, _, version = slug.partition("_")
    return System(
        slug=slug,
        name=f"{slug} (withdrawn)",
        distro=distro,
        version=version.replace("_", "."),
        engine="image",
        engines=("image",),
        architectures=(),
        network="networkd",
        default_user="root",
        install_budget_s=0,
        first_boot_budget_s=0,
    )


def runs_on(entry: System, one: Plan) -> bool:
    """Whether the operating system is there for the architecture of the plan's machines."""
    return one.specs.get("arch", "amd64") in entry.architectures


def user(one: User, links: Links) -> Object:
    """A user."""
    return {
        "id": str(one.id),
        "short_id": short(one.id),
        "first_name": one.first_name,
        "last_name": one.last_name,
        "full_name": f"{one.first_name} {one.last_name}".strip(),
        "email": one.email,
        "default_organization_id": str(one.organization_id),
        "default_project_id": None if one.default_project_id is None else str(one.default_project_id),
        "two_factor_auth": "",
        "max_projects": one.max_projects,
        "emails": [links.to("emails", one.id)],
        "timezone": "UTC",
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "href": links.href("users", one.id),
    }


def email(one: User, links: Links) -> Object:
    """The e-mail address of an account."""
    return {
        "id": str(one.id),
        "address": one.email,
        "default": True,
        "verified": True,
        "created_at": stamp(one.created_at),
        "href": links.href("emails", one.id),
    }


def organization(one: Organization, links: Links) -> Object:
    """An organization."""
    return {
        "id": str(one.id),
        "name": one.name,
        "description": one.description,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "customdata": one.customdata,
        "projects": [links.to("projects", id_) for id_ in one.project_ids],
        "members": [links.to("users", id_) for id_ in one.member_ids],
        "memberships": [links.to("memberships", id_) for id_ in one.membership_ids],
        "href": links.href("organizations", one.id),
    }


def project(one: Project, links: Links) -> Object:
    """A project."""
    return {
        "id": str(one.id),
        "name": one.name,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "max_devices": {} if one.max_devices is None else {"total": one.max_devices},
        "customdata": one.customdata,
        "backend_transfer_enabled": one.backend_transfer,
        "type": "default",
        "tags": one.tags,
        "members": [links.to("users", id_) for id_ in one.member_ids],
        "memberships": [links.to("memberships", id_) for id_ in one.membership_ids],
        "invitations": [links.to("invitations", id_) for id_ in one.invitation_ids],
        "payment_method": links.to("payment-methods", one.organization_id),
        "devices": [links.to("devices", id_) for id_ in one.device_ids],
        "ssh_keys": [links.to("ssh-keys", id_) for id_ in one.ssh_key_ids],
        "volumes": [],
        "bgp_config": {"href": f"{links.href('projects', one.id)}/bgp-config"} if one.has_bgp_config else None,
        "organization": links.to("organizations", one.organization_id),
        "url": links.href("projects", one.id),
        "href": links.href("projects", one.id),
    }


def ssh_key(one: SshKey, links: Links) -> Object:
    """An SSH key; owner and entity are both the user or project that has it."""
    kind, owner = ("users", one.user_id) if one.user_id is not None else ("projects", one.project_id)
    assert owner is not None
    return {
        "id": str(one.id),
        "label": one.label,
        "key": one.key,
        "fingerprint": one.fingerprint,
        "tags": one.tags,
        "owner": links.to(kind, owner),
        "entity": links.to(kind, owner),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "href": links.href("ssh-keys", one.id),
    }


def event(one: Event, links: Links, *, staff: bool) -> Object:
    """An event. `interpolated` is what clients print; staff also see whether it is private, and its data."""
    related = [("devices", one.device_id), ("projects", one.project_id)]
    shown: Object = {
        "id": str(one.id),
        "type": one.type,
        "state": one.state,
        "body": one.body,
        "interpolated": one.body,
        "created_at": stamp(one.created_at),
        "modified_by": None,
        "ip": None,
        "relationships": [links.to(kind, id_) for kind, id_ in related if id_ is not None],
        "href": links.href("events", one.id),
    }
    if staff:
        machine = None if one.machine_id is None else str(one.machine_id)
        shown |= {"private": one.private, "data": one.data, "machine": machine}
    return shown


def bgp_session(one: BgpSession, links: Links) -> Object:
    """A BGP session; its state is not known to us, the leaf's operational data are not read for it."""
    return {
        "id": str(one.id),
        "status": "unknown",
        "learned_routes": [],
        "switch_name": None,
        "address_family": one.address_family,
        "default_route": one.default_route,
        "device": links.to("devices", one.device_id),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.since),
        "href": links.href("bgp/sessions", one.id),
    }

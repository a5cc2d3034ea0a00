"""Memberships, invitations and tokens as the API shows them."""

from __future__ import annotations

from service.api.links import Links, stamp
from service.api.objects import Object
from service.store.members import Invitation, Membership, Token


def membership(one: Membership, links: Links) -> Object:
    """A membership of an organization, or of one project; the other of the two is null."""
    return {
        "id": str(one.id),
        "roles": one.roles,
        "user": links.to("users", one.user_id),
        "organization": None if one.organization_id is None else links.to("organizations", one.organization_id),
        "project": None if one.project_id is None else links.to("projects", one.project_id),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "href": links.href("memberships", one.id),
    }


def invitation(one: Invitation, links: Links) -> Object:
    """An invitation into an organization, into projects of it, or into one project."""
    projects = [one.project_id] if one.project_id is not None else one.project_ids
    return {
        "id": str(one.id),
        "invitee": one.email,
        "roles": one.roles,
        "message": one.message,
        "organization": None if one.organization_id is None else links.to("organizations", one.organization_id),
        "projects": [links.to("projects", id_) for id_ in projects],
        "invited_by": None if one.invited_by is None else links.to("users", one.invited_by),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "href": links.href("invitations", one.id),
    }


def token(one: Token, links: Links, secret: str | None = None) -> Object:
    """A token. `token` is what is sent as X-Auth-Token; only the answer that makes it has it."""
    return {
        "id": str(one.id),
        "token": secret,
        "description": one.description,
        "read_only": one.read_only,
        "user": None if one.user_id is None else links.to("users", one.user_id),
        "project": None if one.project_id is None else links.to("projects", one.project_id),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "href": links.href("user/api-keys" if one.user_id is not None else "api-keys", one.id),
    }

"""Hooks, deliveries and questions as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.api.links import stamp
from service.store.hooks import Delivery, Hook, QuestionSeen

Object = dict[str, Any]


def _moment(value: datetime | None) -> str | None:
    return None if value is None else stamp(value)


def _progress(one: Hook) -> Object:
    """How far it was told, and what is wrong with it."""
    return {
        "cursor": str(one.position),
        "behind": one.wanted > one.position,
        "fault": one.fault,
        "failing_since": _moment(one.failing_since),
        "old_secret_until": _moment(one.old_secret_until),
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
    }


def webhook(one: Hook, href: str) -> Object:
    """A customer's webhook. Its secret is told when it is made, and never again."""
    return {
        "id": str(one.id),
        "url": one.target,
        "description": one.name,
        "events": one.follows,
        "enabled": one.enabled,
        **_progress(one),
        "href": href,
    }


def hook(one: Hook) -> Object:
    """An operator's hook."""
    return {
        "id": str(one.id),
        "name": one.name,
        "kind": one.kind,
        "mode": one.mode,
        "target": one.target,
        "follows": one.follows,
        "limit_s": one.limit_s,
        "retries": one.retries,
        "on_failure": one.on_failure,
        "enabled": one.enabled,
        "created_by": one.created_by,
        **_progress(one),
        "href": f"/admin/v1/hooks/{one.id}",
    }


def delivery(one: Delivery) -> Object:
    """A delivery, with the latest answer."""
    return {
        "id": str(one.id),
        "event": None if one.event_id is None else str(one.event_id),
        "cursor": str(one.position),
        "type": one.type,
        "state": one.state,
        "attempts": one.attempts,
        "status": one.status,
        "answer": one.answer,
        "took_s": None if one.took_s is None else round(one.took_s, 3),
        "created_at": stamp(one.created_at),
        "attempted_at": stamp(one.attempted_at),
        "delivered_at": _moment(one.delivered_at),
    }


def question(one: QuestionSeen) -> Object:
    """What a hook was asked, and what became of it."""
    return {
        "id": str(one.id),
        "hook": one.hook,
        "transition": one.transition,
        "machine": one.machine,
        "device": None if one.device_id is None else str(one.device_id),
        "state": one.state,
        "decided_by": one.decided_by,
        "reason": one.reason,
        "attempts": one.attempts,
        "status": one.status,
        "answer": one.answer,
        "asked_at": stamp(one.asked_at),
        "until": stamp(one.until),
        "decided_at": _moment(one.decided_at),
    }

"""Hooks as they are made, changed and rewound: for customers and for operators, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.hooks.asking import NEWS
from service.hooks.signature import new_secret
from service.secrets import KeyRing, seal
from service.store.hooks import Hook, NewHook, Owner
from service.store.rows import Connection
from sql.loader import Q


async def add(
    conn: Connection, owner: Owner, hook_id: UUID, new: NewHook, *, by: str, now: datetime, key: KeyRing
) -> None:
    """A new hook with a secret of its own, which is told what happens from now on.

    Raises asyncpg.UniqueViolationError when an operator's hook has the name already.
    """
    secret = seal(key, new_secret())
    what = (new.name, new.kind, new.mode, new.target, new.follows, secret)
    how = (new.enabled, new.limit_s, new.retries, new.on_failure)
    await conn.fetchval(Q["add_hook"], hook_id, owner.organization_id, owner.project_id, *what, *how, by, now)


async def change(conn: Connection, hook: Hook, changes: Mapping[str, Any], *, now: datetime) -> None:
    """Change what is named, of name, target, follows, enabled, limit_s, retries and on_failure.

    What a hook missed while it was disabled it is told when it is enabled again.
    """
    names = ("name", "target", "follows", "enabled", "limit_s", "retries", "on_failure")
    wanted = [changes.get(name, getattr(hook, name)) for name in names]
    await conn.execute(Q["change_hook"], hook.id, *wanted, now)
    await conn.execute(Q["notify"], NEWS)


async def rotate(conn: Connection, hook: Hook, overlap_s: float, *, now: datetime, key: KeyRing) -> str:
    """A new secret, which is returned; deliveries are signed with the old one, too, for `overlap_s` seconds."""
    secret = new_secret()
    until = now + timedelta(seconds=overlap_s)
    await conn.execute(Q["rotate_hook_secret"], hook.id, seal(key, secret), until, now)
    return secret


async def rewind(conn: Connection, hook: Hook, position: int, *, now: datetime) -> int:
    """Tell the hook everything behind the position again; the position from which it is really told."""
    begins = int(await conn.fetchval(Q["rewind_hook"], hook.id, position, now))
    await conn.execute(Q["notify"], NEWS)
    return begins

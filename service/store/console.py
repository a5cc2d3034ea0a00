"""Consoles in the database: who may look at which, and who has the keyboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from service.store.events import add_event
from service.store.rows import Connection, Pool
from sql.loader import Q

SILENCE = timedelta(seconds=30)  # a session whose process said nothing for so long has ended with it

# A customer types at a system that is his; while it is being made, the installer's screen is to be looked at.
_TYPING = ("active", "powering_off", "inactive", "powering_on")


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens under a name: the console of a device, or with a staff user's key of a machine."""

    device_id: UUID | None
    project_id: UUID | None
    name: str
    state: str
    machine_id: UUID | None  # None: the device has no machine now
    user_id: UUID | None  # of the staff; None: a key of the device
    email: str | None

    @property
    def staff(self) -> bool:
        """Whether it is an operator who looks."""
        return self.user_id is not None

    @property
    def may_type(self) -> bool:
        """Whether the keyboard may be had now."""
        return self.staff or self.state in _TYPING

    def still(self, now: Access | None) -> bool:
        """Whether `now`, which is this access looked up again, is the same one's to the same thing."""
        return now is not None and (now.device_id, now.project_id, now.user_id) == (
            self.device_id,
            self.project_id,
            self.user_id,
        )


@dataclass(frozen=True, slots=True)
class Writer:
    """Who has the keyboard."""

    email: str | None
    source: str
    started_at: datetime


async def access_of(db: Connection, name: str, key: str) -> Access | None:
    """What the key (its type and base64) opens under the name, which is a device's id or a machine's name."""
    try:
        device_id = UUID(name)
    except ValueError:
        row = await db.fetchrow(Q["console_by_machine"], name, key)
    else:
        row = await db.fetchrow(Q["console_by_device"], device_id, key)
    return None if row is None else Access(**row)


async def begin_session(db: Pool, access: Access, fingerprint: str, source: str, *, now: datetime) -> UUID:
    """Write down that somebody looks at a console from now on."""
    async with db.acquire() as conn, conn.transaction():
        await conn.execute(Q["end_dead_console_sessions"], now - SILENCE)
        session_id: UUID = await conn.fetchval(
            Q["begin_console_session"],
            access.machine_id,
            access.device_id,
            access.user_id,
            fingerprint,
            source,
            now,
        )
        body = f"{access.email or 'A key of the device'} looks at the console, from {source}"
        told = {"fingerprint": fingerprint, "source": source, "user": access.email}
        await _tell(conn, "console.opened", body, access.device_id, access.machine_id, access.staff, told)
    return session_id


async def end_session(db: Pool, session_id: UUID, access: Access, source: str, *, now: datetime) -> None:
    """Write down that the session has ended, and how long it was."""
    async with db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(Q["end_console_session"], session_id, now)
        if row is None:
            return
        seconds = round((now - row["started_at"]).total_seconds())
        what = "typed and looked" if row["wrote"] else "looked"
        body = f"{access.email or 'A key of the device'} {what} at the console for {seconds} s, from {source}"
        told = {"source": source, "user": access.email, "seconds": seconds, "wrote": row["wrote"]}
        await _tell(conn, "console.closed", body, row["device_id"], row["machine_id"], access.staff, told)
        await conn.execute(Q["notify"], f"console:{row['machine_id']}")


async def _tell(
    conn: Connection,
    type_: str,
    body: str,
    device_id: UUID | None,
    machine_id: UUID | None,
    private: bool,
    told: dict[str, Any],
) -> None:
    """An event of the device; of the machine where an operator went by its name."""
    where = {"device_id": device_id} if device_id is not None else {"machine_id": machine_id}
    await add_event(conn, type_, body, private=private, data=told, **where)


async def session_seen(db: Connection, session_id: UUID, machine_id: UUID | None, *, now: datetime) -> bool:
    """Tell that the session is there still, and at which machine; whether it has the keyboard."""
    return bool(await db.fetchval(Q["console_session_seen"], session_id, now, machine_id))


async def take_keyboard(db: Pool, session_id: UUID, machine_id: UUID, *, force: bool, now: datetime) -> bool:
    """Have the keyboard of the machine's console, of which there is one; with `force` from whoever has it."""
    try:
        async with db.acquire() as conn, conn.transaction():
            await conn.execute(Q["end_dead_console_sessions"], now - SILENCE)
            if force:
                await conn.execute(Q["put_down_console_keyboard"], machine_id, session_id)
            await conn.execute(Q["take_console_keyboard"], session_id, machine_id)
            await conn.execute(Q["notify"], f"console:{machine_id}")
    except asyncpg.UniqueViolationError:
        return False
    return True


async def writer_of(db: Connection, machine_id: UUID) -> Writer | None:
    """Who has the keyboard of the machine's console now."""
    row = await db.fetchrow(Q["console_writer"], machine_id)
    return None if row is None else Writer(row["email"], row["source"], row["started_at"])

"""What becomes of a machine's messages, whether it tells them itself or an operator does in its stead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from service.metadata.password_key import NAME, decrypted, make_key
from service.metadata.told import GaveUp, Happened, Message, NewPassword, PhonedHome
from service.secrets import KeyRing, seal
from service.store.events import add_event
from service.store.inventories import told_inventory
from service.store.own_keys import own_key
from service.store.rows import Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose messages they are: a device's, or those of a machine that nobody has."""

    device_id: UUID | None
    machine_id: UUID | None

    async def event(self, db: Connection, type_: str, body: str, **more: Any) -> None:
        """Record an event of the device, or a private one of the machine."""
        if self.device_id is not None:
            await add_event(db, type_, body, device_id=self.device_id, **more)
        else:
            await add_event(db, type_, body, machine_id=self.machine_id, **(more | {"private": True}))


async def keep(db: Pool, keys: KeyRing, speaker: Speaker, message: Message, *, now: datetime) -> None:
    """Do what the message says. Raises NotForUs for a password that cannot be read."""
    match message:
        case PhonedHome():
            await _phoned_home(db, speaker, now)
        case GaveUp(reason):
            await speaker.event(db, "failure", reason, private=True, data={"reason": reason})
        case Happened(type=type_, body=body, private=private, state=state):
            await speaker.event(db, type_, body, private=private, state=state)
        case NewPassword(encrypted):
            pem = await own_key(db, keys, NAME, make_key)
            await set_password(db, keys, speaker, decrypted(pem, encrypted), now=now)


async def _phoned_home(db: Pool, speaker: Speaker, now: datetime) -> None:
    """The first call of an installed system counts, each further one changes nothing."""
    device_id = speaker.device_id
    if device_id is not None and await db.fetchval(Q["record_phone_home"], device_id, now):
        await signal_all(db, [device_id], now=now)
        log.info("phone_home", device_id=str(device_id))


async def set_password(db: Pool, keys: KeyRing, speaker: Speaker, password: str, *, now: datetime) -> None:
    """The device's password is another one from now on. Nothing on a machine that nobody has."""
    if speaker.device_id is None:
        return
    async with db.acquire() as conn, conn.transaction():
        await conn.execute(Q["set_root_password"], speaker.device_id, seal(keys, password), now)
        await speaker.event(conn, "instance.password", "The system has set another password")


async def keep_problem(db: Connection, machine_id: UUID, problem: str) -> None:
    """Something is wrong with the machine's hardware; for operators."""
    body = f"The machine reports a problem: {problem}"
    await add_event(db, "machine.problem", body, machine_id=machine_id, private=True, data={"problem": problem})


async def keep_components(db: Pool, machine_id: UUID, components: dict[str, Any] | list[dict[str, Any]]) -> None:
    """What the machine consists of, beside what its agent has told."""
    async with db.acquire() as conn, conn.transaction():
        await told_inventory(conn, machine_id, {"components": components})

"""Installations by a distribution's own installer: one row for each run and machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class NativeInstall:
    """One installation, as far as it is known. `token` is a hash."""

    id: UUID
    machine_id: UUID
    run_id: UUID
    slot: str
    state: str  # offered, started, done, failed, withdrawn
    token: bytes | None
    issued_at: datetime | None
    boots: int
    stage: str
    missing: str | None
    host_keys: list[str]
    reason: str | None
    created_at: datetime
    seen_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether an installer is waited for, or at work."""
        return self.state in ("offered", "started")


async def offer_native(conn: Connection, machine_id: UUID, run_id: UUID, slot: str, *, now: datetime) -> None:
    """From now on the machine boots the distribution's installer; offered once for a run and slot."""
    await conn.execute(Q["offer_native"], machine_id, run_id, slot, now)


async def native_of_run(conn: Connection, run_id: UUID, slot: str) -> NativeInstall | None:
    """The installation that the run has offered under that slot."""
    row = await conn.fetchrow(Q["native_of_run"], run_id, slot)
    return None if row is None else NativeInstall(**row)


async def native_on_machine(conn: Connection, machine_id: UUID) -> NativeInstall | None:
    """The machine's newest installation, while its run is under way."""
    row = await conn.fetchrow(Q["native_on_machine"], machine_id)
    return None if row is None else NativeInstall(**row)


async def begin_native(
    conn: Connection, install: NativeInstall, token: bytes, *, issued_at: datetime, now: datetime
) -> int | None:
    """An installer with that token takes over from any earlier one. How many have begun by now; None: it is too old."""
    boots: int | None = await conn.fetchval(Q["begin_native"], install.id, token, issued_at, now)
    return boots


async def native_seen(
    conn: Connection, machine_id: UUID, *, now: datetime, stage: str | None = None, missing: str | None = None
) -> UUID | None:
    """The machine's installer was heard of; its run, None where no installer is at work there."""
    run_id: UUID | None = await conn.fetchval(Q["native_seen"], machine_id, now, stage, missing)
    return run_id


async def finish_native(
    conn: Connection,
    install: NativeInstall,
    token: bytes,
    state: str,
    *,
    host_keys: list[str],
    reason: str | None,
    now: datetime,
) -> bool:
    """The installer has ended: `state` is done or failed. False when it was not at work with that token."""
    row = await conn.fetchval(Q["finish_native"], install.id, token, state, host_keys, reason, now)
    return row is not None

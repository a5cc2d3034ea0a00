"""The rotation of the key that seals secrets, while the service runs.

A rotation is what the key file says: a new key is put in front, everything is sealed again with it, and the old key
goes when nothing needs it any more. Whoever is killed on the way is gone on for by the next look.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from service.parts import Parts
from service.secrets import Key, Use, load_keys, new_key, read_keys, write_keys
from service.store.events import add_event
from service.store.rows import AWAY, Pool
from service.store.sealed import seal_again

log = structlog.get_logger()

_LOOK_S = 20.0
# A secret that was sealed with the old key just before it ceased to seal may be in a transaction that is still open.
SETTLED_S = 600.0


class RotationUnderWay(ValueError):
    """The last rotation has not ended."""


@contextmanager
def _alone(state_dir: Path) -> Iterator[Path]:
    """The key file, which no other process changes while the block runs."""
    handle = os.open(state_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield state_dir / "key"
    finally:
        os.close(handle)


def add_next(state_dir: Path) -> tuple[Key, ...]:
    """Add a key that opens only, for hosts that are given the file; the keys then. Raises RotationUnderWay."""
    return _changed(state_dir, lambda keys: (*_settled(keys), new_key(Use.NEXT)))


def rotate(state_dir: Path) -> tuple[Key, ...]:
    """Have the next key seal from now on, a new one where none was added before; the keys then.

    Raises RotationUnderWay while an older key is still needed.
    """

    def turned(keys: tuple[Key, ...]) -> tuple[Key, ...]:
        coming = [key for key in keys if key.use is Use.NEXT] or [new_key(Use.NEXT)]
        now = _settled(tuple(key for key in keys if key.use is not Use.NEXT))
        return (replace(coming[0], use=Use.SEALS), *(replace(key, use=Use.OPENS) for key in now))

    return _changed(state_dir, turned)


def _settled(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    if any(key.use is not Use.SEALS for key in keys):
        raise RotationUnderWay("the last rotation has not ended: `roundhouse secret show` tells what is left of it")
    return keys


def _changed(state_dir: Path, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> tuple[Key, ...]:
    with _alone(state_dir) as file:
        keys = change(load_keys(state_dir).keys)
        write_keys(file, keys)
    log.info("keys_changed", keys=[repr(key) for key in keys])
    return keys


async def run_rotation(db: Pool, parts: Parts) -> None:
    """Bring every rotation to its end, until cancelled."""
    while True:
        try:
            await finish_rotation(db, parts, settled_s=SETTLED_S)
        except (*AWAY, ValueError) as err:
            log.warning("rotation_failed", reason=f"{type(err).__name__}: {err}")
        await parts.clock.sleep(_LOOK_S)


async def finish_rotation(db: Pool, parts: Parts, *, settled_s: float) -> bool:
    """Seal again what an older key sealed, and drop that key when nothing was left for so long; True when it went."""
    file = parts.settings.state_dir / "key"
    if not any(key.use is Use.OPENS for key in parts.key.keys):
        return False
    begun = await asyncio.to_thread(_age_s, file, parts.clock.now())
    if changed := await seal_again(db, parts.key):
        log.info("sealed_again", values=changed)
    if changed or begun < settled_s:
        return False
    with _alone(parts.settings.state_dir):
        dropped = [key for key in read_keys(file) if key.use is Use.OPENS]
        write_keys(file, tuple(key for key in read_keys(file) if key.use is not Use.OPENS))
    names = ", ".join(key.id.hex() for key in dropped)
    async with db.acquire() as conn:
        await add_event(conn, "key.dropped", f"Nothing is sealed with key {names} any more: it is gone", private=True)
    log.info("keys_dropped", keys=names)
    return True


def _age_s(file: Path, now: datetime) -> float:
    return now.timestamp() - file.stat().st_mtime

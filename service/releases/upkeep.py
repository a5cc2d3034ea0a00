"""The upkeep of this host's image store: files are checked, releases come from peers, and what nobody needs goes."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta

import structlog

from images.checking import Corrupt, check_due, checking
from images.collection import Keep, collect
from images.replication import PeerFailed, sync
from images.store import StoreError
from service.parts import Parts
from service.settings import image_keys_of, listed
from service.store.events import add_event
from service.store.releases import releases_referred_to
from service.store.rows import AWAY, Pool

log = structlog.get_logger()

_LOOK_S = 10.0
_COLLECT_S = 3600.0
_CHECKED_BYTES_PER_S = 64e6  # of files that were right before; a disk has other things to do


async def run_upkeep(db: Pool, parts: Parts) -> None:
    """Look after the store until cancelled. Of all processes of a host that share a store one does so at a time."""
    await Upkeep(db, parts).run()


class Upkeep:
    """One process's share."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts
        self._root = parts.images.root
        self._keys = image_keys_of(parts.settings)
        self._peers = listed(parts.settings.image_peers)
        self._stop = threading.Event()
        self._failure = ""
        self._told: dict[str, set[str]] = {}  # by peer, what was not taken over the last time, and why
        self._synced_at: datetime | None = None
        self._collected_at: datetime | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                failure = ""
                try:
                    await self.look()
                except AWAY as err:
                    failure = f"{type(err).__name__}: {err}"
                except Exception:
                    log.exception("image_store_upkeep_error")
                if failure and failure != self._failure:  # a store that cannot be written to stays so
                    log.warning("image_store_upkeep_failed", reason=failure)
                self._failure = failure
                await self._parts.clock.sleep(_LOOK_S)
        finally:
            self._stop.set()  # a process that ends waits for its threads

    async def look(self) -> None:
        """Do what is due, unless another process of this host is at it."""
        settings, now = self._parts.settings, self._parts.clock.now()
        if not self._root.exists() and not self._peers:
            return
        with checking(self._root) as mine:
            if not mine:
                return
            corrupt = await asyncio.to_thread(
                check_due,
                self._root,
                interval_s=settings.image_check_s,
                bytes_per_s=_CHECKED_BYTES_PER_S,
                stopped=self._stop.is_set,
            )
            for one in corrupt:
                await self._tell(one)
            if self._peers and (corrupt or _due(self._synced_at, now, settings.image_sync_s)):
                self._synced_at = now
                await self._sync()
            if settings.image_keep and _due(self._collected_at, now, _COLLECT_S):
                self._collected_at = now
                await self._collect(now)

    async def _tell(self, corrupt: Corrupt) -> None:
        body = (
            f"{self._root}: the content of sha256/{corrupt.sha256} has the sha256 {corrupt.found}; "
            f"it was moved to {corrupt.path.parent.name}/{corrupt.path.name} and is out of service"
        )
        log.error("image_corrupt", sha256=corrupt.sha256, found=corrupt.found, path=str(corrupt.path))
        async with self._db.acquire() as conn:
            await add_event(conn, "image.corrupt", body, private=True, data={"sha256": corrupt.sha256})

    async def _sync(self) -> None:
        wanted = await releases_referred_to(self._db)
        for url in self._peers:
            try:
                found = await asyncio.to_thread(
                    sync, self._root, url, keys=self._keys, wanted=wanted, stopped=self._stop.is_set
                )
            except (PeerFailed, StoreError, OSError) as err:
                log.warning("image_peer_failed", peer=url, reason=str(err))
                continue
            for sentence in set(found.told) - self._told.get(url, set()):  # each once, for as long as it is so
                log.warning("image_not_taken_over", peer=url, reason=sentence)
                async with self._db.acquire() as conn:
                    await add_event(conn, "image.not_taken_over", sentence, private=True)
            self._told[url] = set(found.told)
            for slug, release in found.releases:
                current = ", which is current now" if (slug, release) in found.current else ""
                async with self._db.acquire() as conn:
                    body = f"{slug}: release {release} came from {url}{current}"
                    await add_event(conn, "image.came", body, private=True, data={"slug": slug, "release": release})

    async def _collect(self, now: datetime) -> None:
        settings = self._parts.settings
        keep = Keep(
            newest=settings.image_keep,
            younger=timedelta(days=settings.image_keep_days),
            wanted=await releases_referred_to(self._db),
        )
        found = await asyncio.to_thread(collect, self._root, keep, now=now)
        if found.releases or found.files:
            log.info("images_collected", releases=len(found.releases), files=len(found.files), bytes=found.bytes)


def _due(last: datetime | None, now: datetime, interval_s: float) -> bool:
    return last is None or (now - last).total_seconds() >= interval_s

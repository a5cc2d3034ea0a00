"""What a machine asks the package mirror for tells how far its installer is."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

import structlog

from service.boot.index import BootIndex
from service.lifecycle import MachineState
from service.mirror.paths import Upstream
from service.parts import Parts
from service.stages import passed
from service.store.native import native_seen
from service.store.rows import AWAY, Pool

log = structlog.get_logger()

_OFTEN = timedelta(seconds=10)  # an installer asks for hundreds of packages
_PACKAGES = (".deb", ".rpm")  # of the system itself: its disks are partitioned by then


class InstallersHeard:
    """`service.mirror.routes.Heard`: writes down what installers ask for."""

    def __init__(self, db: Pool, parts: Parts, index: BootIndex) -> None:
        self._db = db
        self._parts = parts
        self._index = index
        self._told: dict[UUID, tuple[datetime, str | None]] = {}

    async def asked(self, source: IPv4Address | IPv6Address, upstream: Upstream, status: int) -> None:
        """Somebody has asked for a file of a mirror; only machines that are being installed are of interest."""
        facts = self._index.at(source)
        if facts is None or facts.machine_id is None or facts.state is not MachineState.INSTALLING or facts.installed:
            return
        now = self._parts.clock.now()
        missing = upstream.name if status == 404 else None
        stage = "writing" if upstream.path.endswith(_PACKAGES) else None
        at, before = self._told.get(facts.machine_id, (None, None))
        if missing is None and stage in (None, before) and at is not None and now - at < _OFTEN:
            return
        self._told[facts.machine_id] = now, stage or before
        try:
            run_id = await native_seen(self._db, facts.machine_id, now=now, stage=stage, missing=missing)
            if run_id is not None and stage is not None:
                await passed(self._db, run_id, stage)
        except AWAY as err:
            log.warning("installer_not_written_down", machine=facts.machine, reason=str(err) or type(err).__name__)

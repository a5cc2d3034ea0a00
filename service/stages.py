"""The dialect's events that an installation passes, whichever way it goes."""

from __future__ import annotations

from typing import Literal, get_args
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

# The agent's stages; "" is before the first of them.
Stage = Literal["", "writing", "growing", "configuring", "handing-over", "done"]

_PASSED = (
    ("provisioning.104", "Connected to magic install system"),
    ("provisioning.105", "Server partitions created"),
    ("provisioning.106", "Operating system packages installed"),
    ("provisioning.107", "Server networking interfaces configured"),
    ("provisioning.108", "Cloud-init packages installed and configured"),
    ("provisioning.109", "Installation finished, rebooting server"),
)
_STAGES = get_args(Stage)


async def passed(conn: Connection, run_id: UUID, stage: str) -> None:
    """Record the events up to a stage that the device does not have yet; some may have been skipped.

    A stage that brings no event, as agents have several, is none of `Stage` and records nothing.
    """
    if stage in _STAGES:
        reached = _PASSED[: _STAGES.index(stage) + 1]
        types, bodies = [type_ for type_, _ in reached], [body for _, body in reached]
        await conn.execute(Q["add_missing_events"], run_id, types, bodies)

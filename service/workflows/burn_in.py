"""Burn-in, and an operator's firmware bundle: each a preparation with a step of its own before the erase.

A machine is not in the pool meanwhile, what is left on its disks is erased, and one that fails goes to quarantine with
what was measured.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from images.protocol import BurnInSpec, FirmwareSpec
from service.burn_limits import findings
from service.firmware_bundles import Bundle
from service.settings import Settings
from service.store.events import add_event
from service.store.rows import Connection
from service.workflow import Done, Failed, Job, Outcome, Step, Workflow
from service.workflows.common import await_agent, boot_installer, machine_in, work_step
from service.workflows.prepare import PREPARE, start_prepare
from sql.loader import Q

PARTS = ("cpu", "memory", "disk", "network")
_ERASE = next(place for place, step in enumerate(PREPARE.steps) if step.name == "erase")


async def start_burn_in(
    conn: Connection, machine_id: UUID, *, seconds: int, parts: list[str], now: datetime, settings: Settings
) -> None:
    """Prepare a machine with a burn-in. In the caller's transaction. Raises IllegalMove."""
    limit = timedelta(seconds=settings.erase_limit_s + seconds)
    asked = {"burn_in": {"seconds": seconds, "parts": parts}}
    why = "it is burnt in"
    await start_prepare(conn, machine_id, None, why, now=now, limit=limit, workflow=BURN_IN, asked=asked)


async def start_firmware(
    conn: Connection,
    machine_id: UUID,
    bundle: Bundle,
    *,
    program: str,
    arguments: list[str],
    limit_s: int,
    now: datetime,
    settings: Settings,
) -> None:
    """Prepare a machine with a firmware bundle run on it. In the caller's transaction. Raises IllegalMove."""
    limit = timedelta(seconds=settings.erase_limit_s + limit_s)
    told = {"bundle": bundle.name, "sha256": bundle.sha256, "program": program, "arguments": arguments}
    asked = {"firmware": {**told, "limit_s": limit_s}}
    why = f"firmware bundle {bundle.name}"
    await start_prepare(conn, machine_id, None, why, now=now, limit=limit, workflow=FIRMWARE, asked=asked)


async def _burn_in(job: Job) -> Outcome:
    machine, asked, base = await machine_in(job), job.data["burn_in"], job.parts.boot_url
    spec: BurnInSpec = {
        "seconds": asked["seconds"],
        "parts": asked["parts"],
        "download_url": f"{base}/images/{job.parts.images.installer(machine.arch).initrd.sha256}",
        "upload_url": f"{base}/agent/v1/sink",
        "memory_bytes": 0,
    }
    return await work_step(job, machine, "burnt_in", "burn_in", dict(spec), reboot_step="netboot")


async def _judge(job: Job) -> Outcome:
    machine, result = await machine_in(job), job.data["burnt_in"]
    limits: dict[str, Any] = await job.db.fetchval(Q["burn_in_limits"], machine.id)
    found = findings(result, limits)
    told = "; ".join(found) if found else f"passed: {', '.join(job.data['burn_in']['parts'])}"
    async with job.transaction() as conn:
        await add_event(
            conn,
            "machine.burnt_in",
            f"Burn-in of {machine.name}: {told}",
            machine_id=machine.id,
            private=True,
            state="failed" if found else "succeeded",
            data={"result": result, "findings": found},
        )
    return Failed(f"burn-in: {told}") if found else Done()


async def _firmware(job: Job) -> Outcome:
    asked = job.data["firmware"]
    spec: FirmwareSpec = {
        "url": f"{job.parts.boot_url}/agent/v1/bundles/{asked['sha256']}",
        "sha256": asked["sha256"],
        "program": asked["program"],
        "arguments": asked["arguments"],
        "limit_s": asked["limit_s"],
    }
    return await work_step(job, await machine_in(job), "updated", "firmware", dict(spec), reboot_step="netboot")


async def _told(job: Job) -> Outcome:
    machine, name, result = await machine_in(job), job.data["firmware"]["bundle"], job.data["updated"]
    async with job.transaction() as conn:
        body = f"Firmware bundle {name} ran on {machine.name} for {result.get('seconds', 0):.0f} s"
        await add_event(conn, "machine.firmware", body, machine_id=machine.id, private=True, data={"result": result})
    return Done()


def _with(name: str, *steps: Step) -> Workflow:
    return Workflow(name, (*PREPARE.steps[:_ERASE], *steps, *PREPARE.steps[_ERASE:]))


BURN_IN = _with("burn_in", Step("burn_in", _burn_in, "erase_limit_s"), Step("judge", _judge, "leaf_limit_s"))
FIRMWARE = _with(
    "firmware",
    Step("firmware", _firmware, "erase_limit_s"),
    Step("tell", _told, "leaf_limit_s"),
    # What was updated takes effect with the next start, and it has to come up at all.
    Step("restart", boot_installer, "netboot_limit_s"),
    Step("await_restart", await_agent, "netboot_limit_s"),
)

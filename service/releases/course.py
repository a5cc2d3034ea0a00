"""Where the course of an order or a reinstall meets releases: which one it gets, and what it does after a failure."""

from __future__ import annotations

from service.releases.choice import choose_release
from service.store.course import Device, device_by_id
from service.store.hardware import Machine
from service.store.releases import Install, Stage, begin_install
from service.store.rows import Connection
from service.workflow import Job
from service.workflows.install import engine_of
from sql.loader import Q


async def give_release(conn: Connection, job: Job, device: Device, machine: Machine) -> None:
    """Choose the release for a device that has been placed on that machine, and write down that its install begins."""
    if engine_of(job.parts, device) != "image":
        return
    chosen = await choose_release(conn, job.parts.images, device, avoid=job.data.get("avoid"))
    await _begin(conn, job, device, machine, device.operating_system, chosen)


async def keep_release(conn: Connection, job: Job, device: Device, machine: Machine, slug: str) -> None:
    """A reinstall gets what the device had, and the current release where that was of another system or is gone.

    Nothing is tried out on it: a device that is active has its machine, and no second one to fall back on.
    """
    images, kept = job.parts.images, device.image_release
    if engine_of(job.parts, device) != "image":
        return
    if slug != device.operating_system or kept is None or not images.has_image(slug, kept):
        kept = images.current_image(slug)
        await conn.execute(Q["set_image_release"], device.id, kept)
    await _begin(conn, job, device, machine, slug, kept)


async def _begin(conn: Connection, job: Job, device: Device, machine: Machine, slug: str, release: str | None) -> None:
    if release is not None:
        install = Install(device_id=device.id, machine_id=machine.id, plan=machine.plan, slug=slug, release=release)
        await begin_install(conn, job.run_id, install, now=job.parts.clock.now())


async def on_trial(job: Job) -> bool:
    """Whether the run's device has a release that is being tried out, or was taken back, and has not failed on it yet.

    It is told once in a run: the machines that fail afterwards fail on a release that others do well on.
    """
    if job.data.get("avoid") is not None:
        return False
    device = await device_by_id(job.db, job.subject)
    found: bool | None = await job.db.fetchval(Q["tried_out"], device.operating_system, device.image_release)
    return bool(found)


async def release_to_avoid(job: Job, stage: Stage | None) -> str | None:
    """The release that the run's device should not get again now that its install has failed, if there is one."""
    if stage == "network" or not await on_trial(job):
        told: str | None = job.data.get("avoid")
        return told
    return (await device_by_id(job.db, job.subject)).image_release

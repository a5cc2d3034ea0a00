"""The course of an installation by the distribution's own installer: what stands in its way, and how it comes along."""

from __future__ import annotations

from datetime import datetime, timedelta

from images.native.contract import CannotExpress
from service.artefacts import NotBuilt
from service.native.rendering import NoMirror, rendered, sources_of
from service.store.course import Device
from service.store.hardware import Machine
from service.store.native import NativeInstall, native_of_run, offer_native
from service.workflow import Done, Failed, Job, Outcome, Wait
from service.workflows.common import netboot_again

# Packages take minutes to unpack on slow disks, in which an installer asks for nothing.
_SILENT = timedelta(minutes=15)


def native_missing(job: Job, slug: str, arch: str) -> Failed | None:
    """No machine is to blame, and none is tried, where the installer or its mirror are not there."""
    try:
        sources_of(job.parts, job.parts.catalogue.get(slug), arch, "")
    except (NoMirror, NotBuilt) as err:
        return Failed(str(err))
    return None


async def offer_installer(job: Job, device: Device, machine: Machine, slot: str) -> Failed | None:
    """From now on the machine boots the distribution's installer."""
    try:
        await rendered(job.db, job.parts, device.id, machine.id, "")
    except CannotExpress as err:
        return Failed(str(err))
    async with job.transaction() as conn:
        await offer_native(conn, machine.id, job.run_id, slot, now=job.parts.clock.now())
    return None


async def native_step(job: Job, machine: Machine, slot: str, *, reboot_step: str) -> Outcome:
    """Wait for the installer to tell how it ended; Done carries the host keys that it told."""
    if machine.misplaced is not None:
        return Failed(machine.misplaced)
    install = await native_of_run(job.db, job.run_id, slot)
    if install is None:
        return netboot_again(job, reboot_step, f"{machine.name} was not offered an installer")
    match install.state:
        case "done":
            return Done({"host_keys": install.host_keys})
        case "failed":
            return Failed(f"{machine.name} could not be installed: {install.reason}{_missing(install)}")
        case "withdrawn":
            return Failed("the installation was withdrawn")
    began = datetime.fromisoformat(job.data["booted_at"])
    heard = began if install.seen_at is None else max(began, install.seen_at)
    if job.parts.clock.now() - heard > _SILENT:
        return netboot_again(job, reboot_step, f"the installer of {machine.name} fell silent{_missing(install)}")
    at = "has not begun" if install.token is None else "is at work" + (", packages" if install.stage else "")
    return Wait(f"the installer of {machine.name} {at}{_missing(install)}", 10.0)


async def native_too_slow(job: Job, machine: Machine, slot: str) -> str:
    """Why an installation has taken too long."""
    install = await native_of_run(job.db, job.run_id, slot)
    return f"the installer of {machine.name} was too slow{'' if install is None else _missing(install)}"


def _missing(install: NativeInstall) -> str:
    return "" if install.missing is None else f"; the mirror has no {install.missing}"

"""What a distribution's installer is told about one order on one machine, made when it asks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from images.catalogue import Engine, System
from images.native import render
from images.native.checks import check
from images.native.contract import Rendered, Sources
from images.native.first_boot import first_boot
from images.protocol import Storage, Wish
from service.mirror.paths import read_mirrors
from service.parts import Parts
from service.secrets import open_sealed
from service.store.course import device_by_id
from service.store.hardware import machine_by_id
from service.store.rows import Connection
from service.workflows.install import wish_of

_WITHOUT_MIRROR = ("coreos",)  # the whole system comes with the installer's RAM disk


class NoMirror(LookupError):
    """The settings name no mirror of a distribution."""


def sources_of(parts: Parts, system: System, arch: str, token: str) -> Sources:
    """Where the installer with that token finds things. Raises NoMirror and NotBuilt."""
    mirrors, base = read_mirrors(parts.settings.package_mirrors), parts.boot_url
    own = f"{base}/native/{token}"
    name = next((name for name in (system.slug, system.distro) if name in mirrors), None)
    if name is None and system.distro not in _WITHOUT_MIRROR:
        raise NoMirror(f"package_mirrors names no mirror of {system.distro}, and none of {system.slug}")
    live = parts.images.netboot(system.slug, arch).live
    return Sources(
        base_url=own,
        installed_url=f"{own}/installed",
        failed_url=f"{own}/failed",
        mirror=f"{base}/mirror/{name}" if name is not None else "",
        security_mirror=f"{base}/mirror/{name}-security" if f"{name}-security" in mirrors else "",
        proxy="",
        # Ubuntu's initramfs takes only a URL with this ending for an ISO.
        live_url=f"{base}/images/{live.sha256}?name=live.iso" if live is not None else "",
    )


async def rendered(db: Connection, parts: Parts, device_id: UUID, machine_id: UUID, token: str) -> Rendered:
    """Files and kernel arguments for the device on that machine.

    Raises NoMirror, NotBuilt, and CannotExpress for an order that the installer cannot carry out.
    """
    device, machine = await device_by_id(db, device_id), await machine_by_id(db, machine_id)
    sealed = device.storage_passphrase
    passphrase = "" if sealed is None else open_sealed(parts.key, sealed)
    wish = await wish_of(db, parts, device, machine, passphrase=passphrase)
    system = parts.catalogue.get(device.operating_system)
    return render(system, wish, sources_of(parts, system, machine.arch, token))


def try_out(system: System, engine: Engine, storage: dict[str, Any], hostname: str | None, userdata: str) -> None:
    """See whether an order could be carried out at all, on whatever machine. Raises CannotExpress."""
    told = Storage(disks=storage["disks"], raid=storage["raid"], lvm=storage["lvm"], passphrase=storage["passphrase"])
    wish: Wish = {
        "hostname": hostname or "host",
        "ssh_keys": [],
        "password_hash": "",
        "network": {
            "macs": ["02:00:00:00:00:01"],
            "bond": "none",
            "addresses": [
                {"address": "192.0.2.1/31", "gateway": "192.0.2.0", "public": True},
                {"address": "2001:db8::1/127", "gateway": "2001:db8::", "public": True},
                {"address": "10.0.0.1/31", "gateway": "10.0.0.0", "public": False},
            ],
            "private_subnets": ["10.0.0.0/8"],
            "nameservers": [],
        },
        "storage": told,
        "metadata_url": "http://192.0.2.2",
        "phone_home_url": "http://192.0.2.2/phone-home",
        "instance_id": "00000000-0000-0000-0000-000000000000",
        "userdata": userdata,
    }
    if engine != "native":
        check(wish)
        first_boot(system, wish)
        return
    base = "http://192.0.2.2/native/token"
    mirror = "http://192.0.2.2/mirror/system"
    sources = Sources(
        base_url=base,
        installed_url=f"{base}/installed",
        failed_url=f"{base}/failed",
        mirror=mirror,
        security_mirror="",
        proxy="",
        live_url="http://192.0.2.2/images/live.iso",
    )
    render(system, wish, sources)

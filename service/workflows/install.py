"""What the agent is told to install, made from the order."""

from __future__ import annotations

from typing import Any

from images.catalogue import Catalogue, Engine
from images.native.first_boot import first_boot
from images.protocol import InstallSpec, Network, Storage, Wish
from ipam.ledger import Tenure, held_by
from service.parts import Parts
from service.settings import listed
from service.store.course import Device
from service.store.hardware import Machine
from service.store.rows import Connection
from service.workflow import Job
from service.workflows.handover import ways_for


def _network(links: list[Tenure], machine: Machine, nameservers: str) -> Network:
    return {
        "macs": [machine.mac],
        "bond": "none",
        "addresses": [
            {"address": str(link.host), "gateway": str(link.leaf.ip), "public": link.slot != "private"}
            for link in links
            if link.kind == "held"  # elastic blocks are the customer's to configure
        ],
        "private_subnets": ["10.0.0.0/8"],
        "nameservers": listed(nameservers),
    }


def engine_for(catalogue: Catalogue, slug: str, wished: str | None) -> Engine:
    """How a system is to be installed: as an order wishes, else as the catalogue says."""
    system = catalogue.get(slug)
    return next((engine for engine in system.engines if engine == wished), system.engine)


def engine_of(parts: Parts, device: Device) -> Engine:
    """How the device is to be installed."""
    return engine_for(parts.catalogue, device.operating_system, device.engine)


async def wish_of(db: Connection, parts: Parts, device: Device, machine: Machine, *, passphrase: str) -> Wish:
    """What the customer's system is to be on that machine. `passphrase`: of its disks, as it is to be told."""
    storage: Storage = {
        "disks": device.storage["disks"],
        "raid": device.storage["raid"],
        "lvm": device.storage["lvm"],
        "passphrase": passphrase,
    }
    return {
        "hostname": device.hostname,
        "ssh_keys": device.ssh_keys,
        "password_hash": device.password_hash,
        "network": _network(await held_by(db, device.id), machine, parts.settings.nameservers),
        "storage": storage,
        "metadata_url": parts.boot_url,
        "phone_home_url": f"{parts.boot_url}/phone-home",
        "instance_id": str(device.id),
        "userdata": device.userdata,
    }


async def install_spec(job: Job, device: Device, machine: Machine) -> dict[str, Any]:
    """The work for the agent. It is the same each time it is made for one order and machine.

    The passphrase of its disks stays sealed, in hex, until the agent asks for its work. Raises NotBuilt, and
    CannotExpress for what the image of a system that Ignition configures cannot be.
    """
    image = job.parts.images.image(device.operating_system, device.image_release)
    system = job.parts.catalogue.get(device.operating_system)
    sealed = device.storage_passphrase
    wish = await wish_of(job.db, job.parts, device, machine, passphrase="" if sealed is None else sealed.hex())
    spec: InstallSpec = {
        **wish,
        "image": {
            "url": f"{job.parts.boot_url}/images/{image.sha256}",
            "bytes": image.bytes,
            "map_url": f"{job.parts.boot_url}/images/{image.map.sha256}",
            "map_sha256": image.map.sha256,
            "disk_bytes": image.disk_bytes,
        },
        "user": system.default_user,
        "network_style": system.network,
        "ignition": first_boot(system, wish),
        "handover": await ways_for(job, device, machine),
    }
    return dict(spec)

"""What the agent is told to install, made from the order."""

from __future__ import annotations

from typing import Any

from images.protocol import InstallSpec, Network
from ipam.ledger import Tenure, held_by
from service.settings import listed
from service.store.course import Device
from service.store.hardware import Machine
from service.workflow import Job


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


async def install_spec(job: Job, device: Device, machine: Machine) -> dict[str, Any]:
    """The work for the agent. It is the same each time it is made for one order and machine."""
    image = job.parts.images.image(device.operating_system)
    system = job.parts.catalogue.get(device.operating_system)
    base = job.parts.boot_url
    spec: InstallSpec = {
        "image": {
            "url": f"{base}/images/{image.sha256}",
            "sha256": image.sha256,
            "bytes": image.bytes,
            "disk_bytes": image.disk_bytes,
        },
        "hostname": device.hostname,
        "ssh_keys": device.ssh_keys,
        "password_hash": device.password_hash,
        "network": _network(await held_by(job.db, device.id), machine, job.parts.settings.nameservers),
        "storage": {"disks": [], "raid": "none", "lvm": False, "passphrase": ""},
        "metadata_url": base,
        "phone_home_url": f"{base}/phone-home",
        "instance_id": str(device.id),
        "userdata": device.userdata,
        "user": system.default_user,
        "network_style": system.network,
        "handover": ["switch_root", "kexec", "reboot"],
    }
    return dict(spec)

"""The metadata of one device, as JSON and as the EC2 tree. Pure: rows in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ipam.ledger import Tenure
from service.store.elastic import Assignment, gateway_of

EC2_VERSION = "2009-04-04"


@dataclass(frozen=True, slots=True)
class Subject:
    """The device that asks, with all that its metadata says."""

    id: str
    hostname: str
    plan: str
    facility: str
    metro: str
    tags: Sequence[str]
    ssh_keys: Sequence[str]
    customdata: Mapping[str, Any]
    userdata: str
    state: str
    password_hash: str
    operating_system: Mapping[str, str]  # slug, distro, version
    machine_id: str
    mac: str
    leaf_id: str
    uefi: bool
    links: Sequence[Tenure]
    elastic: Sequence[Assignment]
    bgp_neighbors: Sequence[Mapping[str, Any]]
    base_url: str
    reserved: bool
    spot: bool
    termination_time: datetime | None

    @property
    def ends_at(self) -> str | None:
        """When a spot instance is going to be taken back, as far as that is known."""
        return f"{self.termination_time:%Y-%m-%dT%H:%M:%SZ}" if self.spot and self.termination_time else None

    @property
    def iqn(self) -> str:
        """The iSCSI name; kept because clients insist on it."""
        return f"iqn.2024-05.net.packet:device.{self.id[:8]}"


def _address(link: Tenure) -> dict[str, Any]:
    host, network = link.host, link.host.network
    return {
        "id": str(link.id),
        "address_family": host.version,
        "netmask": str(network.netmask),
        "created_at": f"{link.since:%Y-%m-%dT%H:%M:%SZ}",
        "public": link.slot != "private",
        "cidr": network.prefixlen,
        "management": True,
        "enabled": True,
        "network": str(network.network_address),
        "address": str(host.ip),
        "gateway": str(link.leaf.ip),
        "parent_block": {
            "network": str(network.network_address),
            "netmask": str(network.netmask),
            "cidr": network.prefixlen,
            "href": f"/ips/{link.id}",
        },
    }


def _elastic(one: Assignment) -> dict[str, Any]:
    """A block that leads to the device beside its own links; it is the customer's to configure."""
    network = one.block
    return {
        "id": str(one.id),
        "address_family": network.version,
        "netmask": str(network.netmask),
        "created_at": f"{one.since:%Y-%m-%dT%H:%M:%SZ}",
        "public": one.type != "private_ipv4",
        "cidr": network.prefixlen,
        "management": False,
        "enabled": True,
        "network": str(network.network_address),
        "address": str(network.network_address),
        "gateway": gateway_of(network),
        "parent_block": {
            "network": str(one.parent.network_address),
            "netmask": str(one.parent.netmask),
            "cidr": one.parent.prefixlen,
            "href": f"/ips/{one.reservation_id}",
        },
    }


def metadata(subject: Subject) -> dict[str, Any]:
    """The JSON document of `GET /metadata`. It has no key named "error": clients take that for a failure."""
    return {
        "id": subject.id,
        "hostname": subject.hostname,
        "iqn": subject.iqn,
        "hardware_id": subject.machine_id,
        "state": subject.state,
        "reserved": subject.reserved,
        "operating_system": {
            **subject.operating_system,
            "image_tag": None,
            "license_activation": {"state": "unlicensed"},
        },
        "plan": subject.plan,
        "class": subject.plan,
        "facility": subject.facility,
        "metro": subject.metro,
        "tags": list(subject.tags),
        "ssh_keys": list(subject.ssh_keys),
        "customdata": dict(subject.customdata),
        "specs": {"features": {"uefi": subject.uefi}},
        "private_subnets": ["10.0.0.0/8"],
        "switch_short_id": subject.leaf_id[:8],
        "password_hash": subject.password_hash,
        "preserve_data": False,
        "deprovision_fast": False,
        "services": {},
        "storage": {},
        "network": {
            "bonding": {"mode": 5, "link_aggregation": "individual", "mac": subject.mac},
            "interfaces": [{"name": "eth0", "mac": subject.mac, "bond": "bond0"}],
            "addresses": [*map(_address, subject.links), *map(_elastic, subject.elastic)],
            "metal_gateways": [],
        },
        "bgp_neighbors": [dict(one) for one in subject.bgp_neighbors],
        "spot": {"termination_time": subject.ends_at} if subject.ends_at else {},
        "volumes": [],
        "api_url": subject.base_url,
        "phone_home_url": f"{subject.base_url}/phone-home",
        "user_state_url": f"{subject.base_url}/events",
    }


def ec2_leaves(subject: Subject) -> dict[str, str]:
    """The leaves below /2009-04-04/meta-data; several values stand one a line. What is listed is served."""

    def addresses(slot: str) -> str:
        return "\n".join(str(link.host.ip) for link in subject.links if link.slot == slot)

    system = subject.operating_system
    return {
        "instance-id": subject.id,
        "hostname": subject.hostname,
        "local-hostname": subject.hostname,
        "iqn": subject.iqn,
        "plan": subject.plan,
        "facility": subject.facility,
        "tags": "\n".join(subject.tags),
        "operating-system/slug": system["slug"],
        "operating-system/distro": system["distro"],
        "operating-system/version": system["version"],
        "operating-system/image_tag": "",
        "operating-system/license_activation/state": "unlicensed",
        "public-keys": "\n".join(subject.ssh_keys),
        "public-ipv4": addresses("public"),
        "public-ipv6": addresses("ipv6"),
        "local-ipv4": addresses("private"),
        **({"spot/termination-time": subject.ends_at} if subject.ends_at else {}),
    }


def ec2_answer(subject: Subject, path: str) -> str | None:
    """The text at `path` below the version: a leaf's value or a folder's listing; None where there is nothing."""
    leaves = {f"meta-data/{name}": value for name, value in ec2_leaves(subject).items()}
    leaves["user-data"] = subject.userdata
    wanted = path.strip("/")
    if wanted in leaves:
        return leaves[wanted]
    start = f"{wanted}/" if wanted else ""
    children = [name.removeprefix(start).split("/")[0] for name in leaves if name.startswith(start)]
    return "\n".join(dict.fromkeys(children)) or None

"""Orders to render: disks × network × user data, the same for every distribution and the same in every run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from images.catalogue import System
from images.native import CannotExpress, Rendered, Sources, render
from images.protocol import Address, DiskHint, Network, Storage, Wish

SOURCES = Sources(
    base_url="http://192.0.2.1:8080/native/5f2c9a10",
    installed_url="http://192.0.2.1:8080/native/5f2c9a10/installed",
    failed_url="http://192.0.2.1:8080/native/5f2c9a10/failed",
    mirror="http://192.0.2.1:8080/mirror/main",
    security_mirror="http://192.0.2.1:8080/mirror/security",
    proxy="http://192.0.2.1:3128",
    live_url="http://192.0.2.1:8080/boot/files/live",
)

GB = 1_000_000_000


def _storage(*disks: DiskHint, raid: str = "none", lvm: bool = False, passphrase: str = "") -> Storage:
    made: Storage = {"disks": list(disks), "raid": "none", "lvm": lvm, "passphrase": passphrase}
    made["raid"] = "1" if raid == "1" else "10" if raid == "10" else "none"
    return made


SECRET = 'it\'s "quoted" $HOME `id` \\ %end'

STORAGES: dict[str, Storage] = {
    "one disk": _storage(),
    "by path": _storage({"path": "/dev/sdb"}),
    "by serial": _storage({"serial": "S1 B-2"}),
    "by type": _storage({"type": "nvme"}),
    "by size": _storage({"min_bytes": 100 * GB, "max_bytes": 600 * GB}),
    "all of it": _storage({"serial": "S1 B-2", "type": "ssd", "min_bytes": GB, "path": "/dev/sdb"}),
    "LVM": _storage(lvm=True),
    "encrypted": _storage(passphrase="correct horse"),
    "LVM, encrypted": _storage(lvm=True, passphrase=SECRET),
    "RAID 1": _storage(raid="1"),
    "RAID 1 by serial": _storage({"serial": "N1"}, {"serial": "S1 B-2"}, raid="1"),
    "RAID 1 of three": _storage({"type": "ssd"}, {"type": "nvme"}, {"type": "hdd"}, raid="1"),
    "RAID 1, LVM": _storage(raid="1", lvm=True),
    "RAID 1, encrypted": _storage(raid="1", passphrase="correct horse"),
    "RAID 1, LVM, encrypted": _storage(raid="1", lvm=True, passphrase=SECRET),
    "RAID 10": _storage(raid="10"),
    "RAID 10, LVM": _storage(raid="10", lvm=True),
}

_V4: Address = {"address": "198.51.100.5/31", "gateway": "198.51.100.4", "public": True}
_V6: Address = {"address": "2001:db8::3/127", "gateway": "2001:db8::2", "public": True}
_INNER: Address = {"address": "10.1.0.5/31", "gateway": "10.1.0.4", "public": False}
_HOST: Address = {"address": "198.51.100.9/32", "gateway": "198.51.100.1", "public": True}
_WIDE: Address = {"address": "2001:db8:0:1::2/64", "gateway": "2001:db8:0:1::1", "public": True}


def _network(cards: int, *addresses: Address) -> Network:
    return {
        "macs": [f"52:54:00:00:01:0{number}" for number in range(1, cards + 1)],
        "bond": "lacp" if cards > 1 else "none",
        "addresses": list(addresses),
        "private_subnets": ["10.0.0.0/8"],
        "nameservers": ["192.0.2.53", "2001:db8::53"],
    }


NETWORKS: dict[str, Network] = {
    "both": _network(1, _V4, _V6),
    "both and private": _network(1, _V4, _INNER, _V6),
    "IPv4": _network(1, _V4),
    "IPv6": _network(1, _V6),
    "private": _network(1, _INNER),
    "a /32 and a /64": _network(1, _HOST, _WIDE),
    "bond of 2": _network(2, _V4, _INNER, _V6),
    "bond of 4": _network(4, _V4, _V6),
}

CLOUD_CONFIG = "#cloud-config\npackages: [nginx]\nruncmd:\n  - [sh, -c, 'echo it is \"up\"']\n"
SCRIPT = "#!/bin/bash\ncat <<'EOF'\n%end\n'\"$(id)`id`\\\nEOF\n"
IGNITION = json.dumps(
    {
        "ignition": {"version": "3.2.0"},
        "storage": {"files": [{"path": "/etc/motd", "contents": {"source": "data:,%25end%0AEOF"}}]},
    }
)
PLAIN_IGNITION = '{"ignition": {"version": "3.0.0"}}\n'

CLOUD = {"none": "", "cloud-config": CLOUD_CONFIG, "script": SCRIPT}
IGNITED = {"none": "", "Ignition 3.2": IGNITION, "Ignition 3.0": PLAIN_IGNITION}


def wish(storage: Storage, network: Network, userdata: str) -> Wish:
    """An order."""
    return {
        "hostname": "web1.example.net",
        "ssh_keys": ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMF6 it\'s "mine" %end', "ssh-rsa AAAAB3NzaC1yc2E two\n"],
        "password_hash": "$6$saltsalt$" + "a/." * 20,
        "network": network,
        "storage": storage,
        "metadata_url": "http://192.0.2.1:8080",
        "phone_home_url": "http://192.0.2.1:8080/phone-home",
        "instance_id": "5f2c9a10",
        "userdata": userdata,
    }


@dataclass(frozen=True, slots=True)
class Case:
    """One order and what it is called."""

    name: str
    wish: Wish


def cases(userdata: dict[str, str]) -> Iterator[Case]:
    """Every combination."""
    for (disks, storage), (cards, network), (kind, text) in itertools.product(
        STORAGES.items(), NETWORKS.items(), userdata.items()
    ):
        yield Case(f"{disks} / {cards} / {kind}", wish(storage, network, text))


def accepted(system: System, userdata: dict[str, str]) -> tuple[list[tuple[Case, Rendered]], list[str]]:
    """What each order became, and the sentences about those that the installer cannot do."""
    made, refused = [], []
    for case in cases(userdata):
        try:
            made.append((case, render(system, case.wish, SOURCES)))
        except CannotExpress as err:
            refused.append(f"{case.name}: {err}")
    return made, refused

"""Fedora CoreOS: its live system gets one Ignition configuration, which installs another with the order's system."""

from __future__ import annotations

from images.catalogue import System
from images.native import disks, live_install
from images.native.checks import refuse
from images.native.contract import Rendered, Sources
from images.protocol import Storage, Wish

_INSTALLER = "Fedora CoreOS's installer"
_NETWORK = "/etc/roundhouse/network"

# Of the partition types that its image has (UEFI 2.10 §5.3.3, and GRUB's own).
_BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
_ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """installer.ign for the live system. Raises CannotExpress."""
    storage = wish["storage"]
    if storage["raid"] == "10":
        raise refuse("storage.raid", "10", _INSTALLER, "'none', '1'")
    if storage["lvm"]:
        raise refuse("storage.lvm", True, _INSTALLER, "false")
    if storage["passphrase"]:
        # It unlocks a root file system by TPM or a Tang server, and asks nobody.
        raise refuse("storage.passphrase", "…", _INSTALLER, "none")
    layout = _mirror(storage) if storage["raid"] == "1" else None
    target = live_install.target_config(system, wish, layout)
    # Until its root is there, the system reads its network from here, should the customer's Ignition refer to URLs.
    cards = {file.path: file for file in live_install.network(system, wish) if file.path.endswith(".nmconnection")}
    copied = [(f"{_NETWORK}/{path.rpartition('/')[2]}", file.text) for path, file in cards.items()]
    command = f'coreos-installer install "$disk0" --ignition-file {live_install.FILLED} --copy-network'
    command += f" --network-dir {_NETWORK}"
    files = {"installer.ign": live_install.installer_config(wish, sources, target, command, copied)}
    arguments = [f"coreos.live.rootfs_url={sources.live_url}", "ignition.firstboot", "ignition.platform.id=metal"]
    arguments += [f"ignition.config.url={sources.base_url}/installer.ign", "ip=dhcp", "rd.neednet=1"]
    arguments += [f"BOOTIF=01-{wish['network']['macs'][0].replace(':', '-')}", "rd.bootif=1"]
    return Rendered(files, " ".join(arguments))


def _mirror(storage: Storage) -> dict[str, object]:
    """/boot and root on mirrors over the disks, and on each disk all that firmware needs to start from it alone."""
    made: list[dict[str, object]] = []
    systems: list[dict[str, object]] = []
    names = disks.placeholders(storage)
    for number, device in enumerate(names, 1):
        parts: list[dict[str, object]] = [
            {"label": f"bios-{number}", "sizeMiB": 1, "typeGuid": _BIOS_TYPE},
            {"label": f"esp-{number}", "sizeMiB": 127, "typeGuid": _ESP_TYPE},
            {"label": f"boot-{number}", "sizeMiB": 384},
            {"label": f"root-{number}"},
        ]
        made.append({"device": device, "wipeTable": True, "partitions": parts})
        esp = {"device": f"/dev/disk/by-partlabel/esp-{number}", "format": "vfat", "label": f"esp-{number}"}
        systems.append({**esp, "wipeFilesystem": True})
    raid = [
        _array("md-boot", "boot", len(names), options=["--metadata=1.0"]),  # GRUB takes a member for a file system
        _array("md-root", "root", len(names)),
    ]
    systems.append({"device": "/dev/md/md-boot", "format": "ext4", "label": "boot", "wipeFilesystem": True})
    systems.append({"device": "/dev/md/md-root", "format": "xfs", "label": "root", "wipeFilesystem": True})
    return {"disks": made, "raid": raid, "filesystems": systems}


def _array(name: str, part: str, count: int, **rest: object) -> dict[str, object]:
    devices = [f"/dev/disk/by-partlabel/{part}-{number}" for number in range(1, count + 1)]
    return {"name": name, "level": "raid1", "devices": devices, **rest}

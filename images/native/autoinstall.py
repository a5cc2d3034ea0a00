"""The autoinstall configuration of Subiquity, Ubuntu's server installer, as a NoCloud seed that it boots with.

It is YAML; JSON is YAML, too, and needs no quoting rules of our own.
"""

from __future__ import annotations

import json
import shlex

from images.catalogue import System
from images.native import disks, finish
from images.native.contract import Rendered, Sources
from images.native.templates import template
from images.protocol import Storage, Wish

_MIB = 1 << 20


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """User data, meta data and the scripts that are fetched. All that an order may wish can be expressed."""
    base, failed = sources.base_url, shlex.quote(sources.failed_url)
    say = "curl -s -o /dev/null --data-binary"
    finish_here = "/target/root/finish.sh"
    steps: dict[str, object] = {
        "version": 1,
        "locale": "en_US.UTF-8",
        "keyboard": {"layout": "us"},
        "timezone": "Etc/UTC",
        "refresh-installer": {"update": False},
        "updates": "security",
        "ssh": {"install-server": True, "allow-pw": False},
        "apt": _apt(sources),
        "packages": ["mdadm"] if wish["storage"]["raid"] != "none" else [],
        "storage": {"swap": {"size": 0}, "grub": {"reorder_uefi": False}, "config": storage_config(wish["storage"])},
        # This, and no identity: the user is made at the end, with the keys of the order.
        "user-data": {"disable_root": False, "hostname": wish["hostname"], "users": []},
        "early-commands": [
            ["sh", "-c", f"curl -sf {shlex.quote(f'{base}/disks.sh')} -o /tmp/disks.sh"],
            ["sh", "-c", f'sh /tmp/disks.sh 2>/tmp/said || {{ {say} "disks: $(cat /tmp/said)" {failed}; exit 1; }}'],
        ],
        "late-commands": [
            ["sh", "-c", f"curl -sf {shlex.quote(f'{base}/finish.sh')} -o {finish_here}"],
            ["curtin", "in-target", "--target=/target", "--", "bash", "/root/finish.sh"],
            ["rm", "-f", finish_here],
        ],
        "error-commands": [
            ["sh", "-c", f'{say} "subiquity: $(tail -c 1500 /var/log/installer/subiquity-server-debug.log)" {failed}']
        ],
        "shutdown": "reboot",
    }
    if sources.proxy:
        steps["proxy"] = sources.proxy
    files = {
        "user-data": "#cloud-config\n" + json.dumps({"autoinstall": steps}, indent=1) + "\n",
        "meta-data": json.dumps({"instance-id": wish["instance_id"]}) + "\n",
        "vendor-data": "",
        "disks.sh": disks.finder(wish["storage"])
        + template("autoinstall-disks.sh.j2").render(
            fill=disks.fill(wish["storage"], "/autoinstall.yaml", "/run/filled"),
            bios_mark=disks.placeholder(wish["storage"], "BIOS"),
            uefi_mark=disks.placeholder(wish["storage"], "UEFI"),
        ),
        "finish.sh": finish.script(system, wish, sources),
    }
    arguments = ["ip=dhcp", f"url={sources.live_url}", "autoinstall", f"ds=nocloud-net;s={base}/"]
    arguments += ["cloud-config-url=/dev/null", f"BOOTIF=01-{wish['network']['macs'][0].replace(':', '-')}"]
    return Rendered(files, " ".join(arguments))


def _apt(sources: Sources) -> dict[str, object]:
    apt: dict[str, object] = {"preserve_sources_list": False, "geoip": False, "fallback": "abort"}
    apt["primary"] = [{"arches": ["default"], "uri": sources.mirror}]
    if sources.security_mirror:
        apt["security"] = [{"arches": ["default"], "uri": sources.security_mirror}]
    return apt


def storage_config(storage: Storage) -> list[dict[str, object]]:
    """curtin's storage actions, with placeholders for the disks and for what firmware there is."""
    made: list[dict[str, object]] = []
    mirrored = storage["raid"] != "none"
    apart = storage["lvm"] or bool(storage["passphrase"])  # GRUB reads neither
    names = disks.placeholders(storage)

    def add(kind: str, id_: str, **rest: object) -> str:
        made.append({"type": kind, "id": id_, **rest})
        return id_

    def part(disk: int, number: int, name: str, size: int, **rest: object) -> str:
        return add(
            "partition",
            f"{name}{disk}",
            device=f"disk{disk}",
            number=number,
            size=size,
            preserve=False,
            wipe="superblock",
            **rest,
        )

    # Which of the two there is, the machine knows.
    bios, uefi = disks.placeholder(storage, "BIOS"), disks.placeholder(storage, "UEFI")
    boots, roots = [], []
    for disk, path in enumerate(names):
        add(
            "disk",
            f"disk{disk}",
            path=path,
            ptable="gpt",
            wipe="superblock-recursive",
            preserve=False,
            grub_device=bios,
        )
        part(disk, 1, "bios", _MIB, flag="bios_grub")
        part(disk, 2, "esp", 512 * _MIB, flag="boot", grub_device=uefi)
        if apart:
            boots.append(part(disk, 3, "boot", 1024 * _MIB))
        roots.append(part(disk, 4 if apart else 3, "root", -1))
    for disk in range(len(names)):
        add("format", f"esp{disk}-vfat", volume=f"esp{disk}", fstype="fat32", preserve=False)
    boot, root = (boots or [""])[0], roots[0]
    if mirrored:
        if apart:
            boot = add("raid", "md-boot", name="md-boot", raidlevel=1, devices=boots, preserve=False)
        root = add("raid", "md-root", name="md-root", raidlevel=int(storage["raid"]), devices=roots, preserve=False)
    if storage["passphrase"]:
        root = add("dm_crypt", "crypt", volume=root, dm_name="crypt", key=storage["passphrase"], preserve=False)
    if storage["lvm"]:
        group = add("lvm_volgroup", "system", name="system", devices=[root], preserve=False)
        root = add("lvm_partition", "lv-root", name="root", volgroup=group, size=-1, preserve=False, wipe="superblock")
    root = add("format", "root-ext4", volume=root, fstype="ext4", preserve=False)
    add("mount", "mount-root", device=root, path="/")
    if apart:
        boot = add("format", "boot-ext4", volume=boot, fstype="ext4", preserve=False)
        add("mount", "mount-boot", device=boot, path="/boot")
    add("mount", "mount-esp", device="esp0-vfat", path="/boot/efi")
    return made

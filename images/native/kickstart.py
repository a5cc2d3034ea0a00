"""The kickstart file of Anaconda, for CentOS Stream and CentOS 7."""

from __future__ import annotations

import shlex

from images.catalogue import System
from images.native import disks, finish
from images.native.contract import Rendered, Sources
from images.native.finish import encoded
from images.native.templates import template
from images.protocol import Storage, Wish

_BOOT_MIB = 1024
_ESP_MIB = 512
_ROOT_MIB = 4000  # at least; it grows over the disk
_UNFILLED, _FOUND = "/run/roundhouse.ks.in", "/run/roundhouse.ks"


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """One kickstart file. Everything that an order may wish can be expressed; raises CannotExpress for bad cards."""
    storage, seven = wish["storage"], system.version == "7"
    packages = ["@^minimal" if seven else "@^minimal-environment", "openssh-server", "sudo", "NetworkManager", "bash"]
    packages += ["cloud-init"] if wish["userdata"] else []
    packages += ["mdadm"] if storage["raid"] != "none" else []
    packages += ["lvm2"] if storage["lvm"] else []
    packages += ["cryptsetup"] if storage["passphrase"] else []
    kickstart = template("kickstart.ks.j2").render(
        seven=seven,
        base_repository=f"{sources.mirror}/os/x86_64" if seven else f"{sources.mirror}/BaseOS/x86_64/os",
        second_name="updates" if seven else "AppStream",
        second_repository=f"{sources.mirror}/updates/x86_64" if seven else f"{sources.mirror}/AppStream/x86_64/os",
        proxy=sources.proxy,
        hostname=wish["hostname"],
        password=wish["password_hash"],
        packages=packages,
        finder=disks.finder(storage),
        bios=encoded(_partitioning(storage, uefi=False, seven=seven)),
        uefi=encoded(_partitioning(storage, uefi=True, seven=seven)),
        fill=disks.fill(storage, _UNFILLED, _FOUND),
        unfilled=_UNFILLED,
        found=_FOUND,
        finish=encoded(finish.script(system, wish, sources)),
        failed_url=sources.failed_url,
    )
    tree = sources.live_url or (f"{sources.mirror}/os/x86_64" if seven else f"{sources.mirror}/BaseOS/x86_64/os")
    arguments = ["ip=dhcp", f"inst.ks={sources.base_url}/kickstart.ks", f"inst.stage2={tree}", "inst.text"]
    arguments += ["inst.sshd=0" if seven else "inst.nosave=all", "inst.cmdline"]
    arguments += ["inst.gpt" if system.version in ("7", "8", "9") else "inst.disklabel=gpt"]
    arguments += [f"BOOTIF=01-{wish['network']['macs'][0].replace(':', '-')}"]
    return Rendered({"kickstart.ks": kickstart}, " ".join(arguments))


def _partitioning(storage: Storage, *, uefi: bool, seven: bool) -> str:
    """The storage commands, with placeholders for the disks. /boot is a partition of its own, readable by GRUB."""
    names = disks.placeholders(storage)
    drives = ",".join(names)
    lines = ["zerombr", f"ignoredisk --only-use={drives}"]
    lines += [f"clearpart --all --initlabel --disklabel=gpt --drives={drives}"]
    lines += [f"bootloader --location=mbr --boot-drive={names[0]}"]
    if not uefi:
        lines += [f"part biosboot --fstype=biosboot --size=1 --ondisk={name}" for name in names]
    locked = ""
    if storage["passphrase"]:
        locked = f" --encrypted --passphrase={shlex.quote(storage['passphrase'])}"
        locked += "" if seven else " --luks-version=luks2"
    mirrored = storage["raid"] != "none"
    if mirrored:
        # Firmware and boot loader read a mirror's member as if it were alone, so those two are always mirrors.
        if uefi:
            lines += _array(names, "/boot/efi", "efi", f"--size={_ESP_MIB}", "RAID1", "--fstype=efi")
        lines += _array(names, "/boot", "boot", f"--size={_BOOT_MIB}", "RAID1", "--fstype=ext4")
    else:
        if uefi:
            lines += [f"part /boot/efi --fstype=efi --size={_ESP_MIB} --ondisk={names[0]}"]
        lines += [f"part /boot --fstype=ext4 --size={_BOOT_MIB} --ondisk={names[0]}"]
    root, kind = ("pv.root", "") if storage["lvm"] else ("/", "--fstype=ext4")
    grown = f"--size={_ROOT_MIB} --grow"
    if mirrored:
        lines += _array(names, root, "root", grown, f"RAID{storage['raid']}", f"{kind}{locked}")
    else:
        lines += [f"part {root} {kind} {grown} --ondisk={names[0]}{locked}"]
    if storage["lvm"]:
        lines += ["volgroup system pv.root"]
        lines += [f"logvol / --vgname=system --name=root --fstype=ext4 {grown}"]
    return "\n".join([*lines, ""])


def _array(names: list[str], mount: str, device: str, size: str, level: str, rest: str) -> list[str]:
    members = [f"raid.{device}{number}" for number in range(len(names))]
    lines = [f"part {member} {size} --ondisk={name}" for member, name in zip(members, names, strict=True)]
    return [*lines, f"raid {mount} --device={device} --level={level} {rest} {' '.join(members)}"]

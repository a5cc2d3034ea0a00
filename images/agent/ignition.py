"""Systems that nothing but Ignition configures: Fedora CoreOS and Flatcar.

Their root is made at the first boot, so nothing is written into it here. Their initramfs takes its configuration from a
file system that it finds by its label:

    "boot"   Fedora CoreOS: /ignition/config.ign, and NetworkManager's profiles for the time until the root is there in
             /coreos-firstboot-network
    "OEM"    Flatcar: /config.ign

Both find all their file systems by labels, so an older copy on another disk would be taken for the new one, or end the
first boot.
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64

from images.agent import blockdev, gpt, host_key, storage, toolbox
from images.agent.layout import NoLayout
from images.agent.network import network_files
from images.agent.shell import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from images.agent.blockdev import Disk
    from images.agent.layout import Plan
    from images.protocol import InstallSpec

# What the file system's label is, and where in it the configuration goes.
_PLACES: Final = {"boot": "ignition/config.ign", "OEM": "config.ign"}
_NETWORK: Final = "coreos-firstboot-network"
_HOST_KEY: Final = "/etc/ssh/ssh_host_ed25519_key"


def check(plan: Plan) -> None:
    """Raises NoLayout for anything but one disk that gets the image as it is."""
    if not plan.whole:
        raise NoLayout(
            "this system goes to one whole disk with sectors of 512 bytes, without RAID, LVM and encryption: "
            "Ignition makes its file systems larger, and nothing else of them"
        )


def apply(plan: Plan, spec: InstallSpec, found: Iterable[Disk], root: str) -> list[str]:
    """Put the order's configuration on the disk that was just written; the public half of its new SSH host key.

    `found` are the machine's disks. The file system stays mounted at `root`. Raises NoLayout, CommandFailed, Malformed,
    OSError, ValueError, WorkFailed.
    """
    blockdev.reread_partitions(plan.whole)
    fd = os.open(plan.whole, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = gpt.read(fd)
        labelled = [(part, *label_of(fd, part.start)) for part in parts]
    finally:
        os.close(fd)
    place = next((one for one in labelled if one[2] in _PLACES), None)
    if place is None:
        there = ", ".join(f"{part.number} {label or 'none'}" for part, _, label in labelled)
        raise NoLayout(f"no file system of the image is labelled {' or '.join(_PLACES)}; found: {there}")
    part, filesystem, label = place
    disable_copies([disk for disk in found if disk.path in plan.others], {part.name for part in parts})
    if filesystem != "ext4" and filesystem not in blockdev.read_text("/proc/filesystems").split():
        toolbox.need()  # its kernel module
    private, public = host_key.new(f"root@{spec['hostname']}")
    run(["mount", "-t", filesystem, gpt.device_of(plan.whole, part.number), root])
    _write(f"{root}/{_PLACES[label]}", with_host_key(spec["ignition"], private, public))
    if label == "boot":
        for file in network_files(spec["network"], spec["network_style"]):
            folder, _, name = file.path.rpartition("/")
            if folder.endswith("/system-connections"):
                _write(f"{root}/{_NETWORK}/{name}", file.text)
    return [public]


def label_of(fd: int, start: int) -> tuple[str, str]:
    """The kind and the label of the file system at that byte of a disk: "ext4" or "btrfs"; both empty for others."""
    block = os.pread(fd, 2048, start)  # ext4's superblock lies at 1024: s_magic at 0x38, s_volume_name at 0x78
    if block[1080:1082] == b"\x53\xef":
        return "ext4", _text(block[1144:1160])
    block = os.pread(fd, 1024, start + (64 << 10))  # Btrfs's at 64 KiB: magic at 0x40, label at 0x12B
    if block[64:72] == b"_BHRfS_M":
        return "btrfs", _text(block[299:555])
    return "", ""


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


def disable_copies(disks: Iterable[Disk], names: set[str]) -> list[str]:
    """Wipe the tables of disks whose partitions bear all of these names; their paths."""
    wiped = []
    for disk in disks:
        try:
            fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                there = {part.name for part in gpt.read(fd, disk.sector)}
            finally:
                os.close(fd)
            if any(names) and names <= there:
                storage.wipe_ends(disk.path, disk.bytes)
                wiped.append(disk.path)
        except gpt.NoTable:
            continue
        except OSError as err:  # what cannot be read misleads nobody
            print(f"roundhouse: {disk.path}: {err.strerror}", flush=True)
    return wiped


def with_host_key(config: str, private: str, public: str) -> str:
    """A configuration that installs this key, too. Raises ValueError: no JSON."""
    made = json.loads(config)
    files = made.setdefault("storage", {}).setdefault("files", [])
    files += host_key_files(_base64(private), _base64(f"{public}\n"))
    return json.dumps(made, indent=1) + "\n"


def host_key_files(private: str, public: str) -> Sequence[dict[str, object]]:
    """Entries of storage.files for a host key, whose halves are given in base64."""
    halves = ((_HOST_KEY, 0o600, private), (f"{_HOST_KEY}.pub", 0o644, public))
    return [
        {"path": path, "mode": mode, "overwrite": True, "contents": {"source": f"data:;base64,{text}"}}
        for path, mode, text in halves
    ]


def _base64(text: str) -> str:
    return b2a_base64(text.encode(), newline=False).decode()


def _write(path: str, text: str) -> None:
    """For root alone: there are a password's hash and a private key in it."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o600)

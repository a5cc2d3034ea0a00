"""Making a system that was written as one partition at home in another disk layout."""

from __future__ import annotations

import os

from images.agent import blockdev, handover, layout, storage, storage_files, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.agent.file import File
    from images.agent.layout import Plan
    from images.chunks import Map, Partition
    from images.protocol import Image


def system(plan: Plan, root: str) -> list[File]:
    """Tell the system below `root` what it lies on, and give it its own /boot; the files that are to be placed there.

    Raises NoLayout where it lacks the means to start from there, NoWay without a kernel, CommandFailed, OSError.
    """
    if plan.arrays or plan.crypt or plan.group:
        extra = f"{root}/{storage_files.STORAGE_INITRAMFS}"
        if not os.path.exists(extra):
            raise layout.NoLayout("the image has no initramfs for RAID, LVM or encrypted disks")
        _, initrd = handover.boot_files(root)
        with open(extra, "rb") as source:
            added = source.read()
        with open(initrd, "ab") as target:
            # Each archive begins at a multiple of four (the kernel's early-userspace/buffer-format).
            for part in (added, storage_files.initramfs(plan)):
                target.write(bytes(-target.tell() % 4) + part)
    if plan.boot:
        storage.move_boot(plan, root)
    config = f"{root}/boot/grub/grub.cfg"
    text = storage_files.grub_config(plan, blockdev.read_text(config))
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    return storage_files.files(plan, blockdev.read_text(f"{root}/etc/fstab"))


def boot_loader(plan: Plan, root: str, image: Image, map_: Map) -> int:
    """Make every disk of the plan bootable, as the last thing: ESPs, GRUB's core image, boot code; the bytes written.

    Raises ImageRefused, CommandFailed, OSError.
    """
    pieces = {one.role: one for one in map_.partitions}
    os.sync()
    targets = []
    for disk in plan.disks:
        for number, role in ((1, "bios"), (2, "esp")):
            if disk.sector == 512:
                targets.append(_target(pieces[role], disk.device(number)))
            elif role == "esp":
                storage.make_esp(disk.device(number), pieces[role].uuid, root, _esp_files(root))
    if not targets:
        return 0
    first = min(one.start for one in map_.partitions)
    fd = os.memfd_create("boot-code")
    try:
        os.ftruncate(fd, first)
        targets.append(stream.Target(0, first, f"/proc/self/fd/{fd}", 0))
        written = stream.write_image(image, targets, lambda done, total: None)
        os.sync()
        storage.write_boot_code([disk for disk in plan.disks if disk.sector == 512], os.pread(fd, 440, 0))
    finally:
        os.close(fd)
    return written


def _target(piece: Partition, device: str) -> stream.Target:
    return stream.Target(piece.start, piece.bytes, device, 0)


def _esp_files(root: str) -> list[tuple[str, str]]:
    rows = [line.split("\t") for line in blockdev.read_text(f"{root}/{storage_files.ESP_LIST}").splitlines()]
    return [(target, source) for target, source in rows]

"""A mirror made on files as the agent makes it, killed at one of its steps: `python -m tests.images.half_installed`.

Arguments: the folder, the step to die at (-1: none), the image as JSON. A disk's partitions are files beside it.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from images.agent import adopt, fetch, gpt, layout, storage, stream
from images.agent.install import new_uuid
from images.protocol import Image

DISK_BYTES = 700 << 20


class Disk:
    """A file in place of a disk."""

    def __init__(self, path: str) -> None:
        self.path, self.bytes, self.serial, self.rotational, self.sector = path, DISK_BYTES, "", False, 512


class Steps:
    """Counts the steps that are taken, and dies at one."""

    def __init__(self, last: int) -> None:
        self._left = last

    def __call__(self, *_: object) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def main() -> None:
    """See the module."""
    folder, last, text = sys.argv[1:]
    image: Image = json.loads(text)
    step = Steps(int(last))
    map_ = fetch.fetch_map(image)
    disks = [Disk(f"{folder}/a"), Disk(f"{folder}/b")]
    plan = layout.plan(
        disks,
        {"disks": [], "raid": "1", "lvm": False, "passphrase": ""},
        map_.partitions,
        map_.disk_bytes,
        firmware="bios",
        new_uuid=new_uuid,
    )
    for disk in plan.disks:
        step()
        storage.partition(disk)
    step()
    members = [stream.Target(plan.piece.start, plan.piece.bytes, gpt.device_of(disk.path, 3), 0) for disk in plan.disks]
    stream.write_image(image, members, step)
    step()
    os.chdir(folder)
    adopt.boot_loader(plan, folder, image, map_)


if __name__ == "__main__":
    main()

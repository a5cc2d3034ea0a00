"""NVMe disks that do what a test says."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from images.agent import nvme
from images.agent.erase_node import Refused
from tests.images.scripted_disks import BLOCK, FileNode, Medium, level0


@dataclass(slots=True)
class NvmeController:
    """An NVMe controller. `sanitizes` and `formats` say what the medium is after each action that it knows."""

    sanitizes: dict[int, str] = field(default_factory=dict)
    formats: dict[int, str] = field(default_factory=dict)
    allocated: list[int] = field(default_factory=lambda: [1])
    polls: int = 3  # so often a sanitize is found under way
    fails: set[int] = field(default_factory=set)  # sanitize actions that break off
    refuses_formats: bool = False
    taken: bool = False  # self-encryption is under somebody's password
    media: dict[int, Medium] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    state: int = nvme.IDLE
    left: int = 0
    action: int = 0

    def admin(self, command: nvme.Command) -> bytes:
        match command.opcode:
            case 0x06:
                return self.identify(command.cdw10, command.nsid)
            case 0x02:
                return self.log()
            case 0x82:
                return level0(self.taken)
            case 0x84:
                self.sanitize(command.cdw10 & 7)
            case 0x80:
                self.format(command.nsid, command.cdw10 >> 9 & 7)
        return b""

    def identify(self, cns: int, nsid: int) -> bytes:
        data = bytearray(4096)
        if cns == 1:
            data[4:24], data[24:64], data[64:72] = b"NV1".ljust(20), b"scripted".ljust(40), b"1.0".ljust(8)
            data[256] = (2 if self.formats else 0) | 8 | self.taken
            bits = {nvme.CRYPTO: 1, nvme.BLOCK: 2, nvme.OVERWRITE: 4}
            data[328] = sum(bits[action] for action in self.sanitizes)
            data[524] = 4 if nvme.CRYPTO_ERASE in self.formats else 0
        elif cns == 0x10:
            struct.pack_into(f"<{len(self.allocated)}I", data, 0, *self.allocated)
        else:
            struct.pack_into("<Q", data, 0, self.media[nsid].size // BLOCK)
            data[130] = 9
        return bytes(data)

    def log(self) -> bytes:
        if self.state == nvme.IN_PROGRESS:
            self.left -= 1
            if self.left <= 0:
                self.finish()
        progress = 0xFFFF if self.state != nvme.IN_PROGRESS else 0x4000
        return struct.pack("<HHIIII", progress, self.state, self.action, *[0xFFFFFFFF] * 3).ljust(512, b"\0")

    def finish(self) -> None:
        if self.action in self.fails:
            self.state = nvme.FAILED
            return
        self.state = nvme.COMPLETED
        for medium in self.media.values():
            medium.become(self.sanitizes[self.action])

    def sanitize(self, action: int) -> None:
        if action == nvme.EXIT_FAILURE:
            self.state = nvme.IDLE
            return
        if action not in self.sanitizes:
            raise Refused("the controller answered: invalid field in command")
        self.seen.append(f"sanitize {action}")
        self.state, self.action, self.left = nvme.IN_PROGRESS, action, self.polls

    def format(self, nsid: int, setting: int) -> None:
        self.seen.append(f"format {nsid} {setting}")
        if self.refuses_formats:
            raise Refused("the controller answered: operation denied")
        self.media[nsid].become(self.formats[setting])


class NvmeNode(FileNode):
    """A namespace of a scripted controller."""

    def __init__(self, path: Path, controller: NvmeController, nsid: int = 1, *, zeroes: bool = False) -> None:
        super().__init__(path, zeroes=zeroes)
        self.controller, self.number = controller, nsid
        controller.media[nsid] = self.medium

    def nsid(self) -> int:
        return self.number

    def admin(self, command: nvme.Command, limit_s: float = 0) -> bytes:
        return self.controller.admin(command)

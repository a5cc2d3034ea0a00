"""What this machine is made of, from /sys and /proc: told to the service with the hello."""

from __future__ import annotations

import os

from images.agent import blockdev
from images.agent.blockdev import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def take(root: str = "") -> dict[str, Any]:
    """The inventory as plain JSON values; `root` stands before /sys and /proc."""
    return {
        "system": _system(f"{root}/sys/class/dmi/id"),
        "firmware": "uefi" if os.path.isdir(f"{root}/sys/firmware/efi") else "bios",
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "cpu": _cpu(read_text(f"{root}/proc/cpuinfo")),
        "memory_bytes": _memory(read_text(f"{root}/proc/meminfo")),
        "disks": [
            {"path": d.path, "bytes": d.bytes, "serial": d.serial, "model": d.model, "rotational": d.rotational}
            for d in blockdev.disks(f"{root}/sys/block")
        ],
        "nics": _nics(f"{root}/sys/class/net"),
    }


def _system(dmi: str) -> dict[str, str]:
    names = ("sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "bios_version")
    return {name: read_text(f"{dmi}/{name}") for name in names}


def _cpu(cpuinfo: str) -> dict[str, Any]:
    model, packages, cores, threads = "", set(), set(), 0
    package = ""
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor":
            threads += 1
        elif key == "model name":
            model = value
        elif key == "physical id":
            package = value
            packages.add(value)
        elif key == "core id":
            cores.add((package, value))
    return {"model": model, "packages": len(packages) or 1, "cores": len(cores) or threads, "threads": threads}


def _memory(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _nics(folder: str) -> list[dict[str, Any]]:
    nics = []
    for name in sorted(os.listdir(folder)):
        nic = f"{folder}/{name}"
        if not os.path.exists(f"{nic}/device"):
            continue
        speed = read_text(f"{nic}/speed")
        driver = f"{nic}/device/driver"
        nics.append(
            {
                "name": name,
                "mac": read_text(f"{nic}/address").lower(),
                "carrier": read_text(f"{nic}/carrier") == "1",
                "speed_mbps": int(speed) if speed.isdigit() else 0,
                "driver": os.path.basename(os.path.realpath(driver)) if os.path.exists(driver) else "",
            }
        )
    return nics

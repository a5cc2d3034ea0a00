"""What this machine is made of: told to the service with the hello, and in full when the wait has begun."""

from __future__ import annotations

import os

from images.agent import blockdev
from images.agent.blockdev import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BRIDGE, _SYSTEM_PERIPHERAL = "06", "08"  # PCI base classes
_ETHTOOL, _DRIVER_INFO = 0x8946, 0x03  # SIOCETHTOOL and ETHTOOL_GDRVINFO, linux/sockios.h and linux/ethtool.h


def take(root: str = "") -> dict[str, Any]:
    """What the hello tells: all that costs no time. Plain JSON values; `root` stands before /sys and /proc."""
    return {
        "system": _system(f"{root}/sys/class/dmi/id"),
        "firmware": "uefi" if os.path.isdir(f"{root}/sys/firmware/efi") else "bios",
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "cpu": _cpu(read_text(f"{root}/proc/cpuinfo")),
        "memory_bytes": _memory(read_text(f"{root}/proc/meminfo")),
        "disks": _disks(root),
        "nics": _nics(f"{root}/sys/class/net"),
    }


def details(root: str = "") -> dict[str, Any]:
    """The rest: what is read from tables and asked of devices, beside what may have come up since the hello."""
    from images.agent import bmc, disk_health, smbios

    found: dict[str, Any] = {"disks": _disks(root), "nics": _nics(f"{root}/sys/class/net")}
    for disk in found["disks"]:
        disk["health"] = disk_health.of_disk(disk["path"])
    for nic in found["nics"]:
        nic["firmware"] = _nic_firmware(nic["name"])
    try:
        table = smbios.read(_read_bytes(f"{root}/sys/firmware/dmi/tables/DMI"))
    except smbios.Malformed as err:
        table = {"malformed": str(err)}
    return found | {
        "smbios": table,
        "bmc": bmc.take(),
        "tpm": _tpm(f"{root}/sys/class/tpm"),
        "secure_boot": _secure_boot(f"{root}/sys"),
        "pci": _pci(f"{root}/sys/bus/pci/devices"),
    }


def _system(dmi: str) -> dict[str, str]:
    names = ("sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "bios_version")
    return {name: read_text(f"{dmi}/{name}") for name in names}


def _cpu(cpuinfo: str) -> dict[str, Any]:
    model, microcode, packages, cores, threads = "", "", set(), set(), 0
    package = ""
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor":
            threads += 1
        elif key == "model name":
            model = value
        elif key == "microcode":
            microcode = value
        elif key == "physical id":
            package = value
            packages.add(value)
        elif key == "core id":
            cores.add((package, value))
    counts = {"packages": len(packages) or 1, "cores": len(cores) or threads, "threads": threads}
    return {"model": model, "microcode": microcode} | counts


def _memory(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _disks(root: str) -> list[dict[str, Any]]:
    return [
        {
            "path": disk.path,
            "bytes": disk.bytes,
            "serial": disk.serial,
            "model": disk.model,
            "rotational": disk.rotational,
            "firmware": _disk_firmware(f"{root}/sys/block/{os.path.basename(disk.path)}/device"),
        }
        for disk in blockdev.disks(f"{root}/sys/block")
    ]


def _disk_firmware(device: str) -> str:
    return read_text(f"{device}/firmware_rev") or read_text(f"{device}/rev")


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
                "pci": os.path.basename(os.path.realpath(f"{nic}/device")) if os.path.exists(driver) else "",
            }
        )
    return nics


def _nic_firmware(name: str) -> str:
    """The version of the card's firmware, as its driver tells it; empty where it does not."""
    import ctypes
    import fcntl
    import socket
    import struct

    # struct ethtool_drvinfo: the command, then driver and version, each of 32 bytes, then the firmware's version.
    info = ctypes.create_string_buffer(struct.pack("I", _DRIVER_INFO), 196)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, _ETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(info)))
        except OSError:
            return ""
    version = info.raw[68:100].split(b"\0")[0].decode("ascii", "replace").strip()
    return "" if version == "N/A" else version


def _tpm(folder: str) -> str:
    """The TPM's version, "2.0"; empty where there is none."""
    if not os.path.isdir(f"{folder}/tpm0"):
        return ""
    return {"1": "1.2", "2": "2.0"}.get(read_text(f"{folder}/tpm0/tpm_version_major"), "unknown")


def _secure_boot(sys: str) -> bool | None:
    """Whether firmware checks what it starts; None where that is not told.

    The boot loader leaves it in the x86 kernel's boot parameters (`secure_boot` in struct boot_params).
    """
    parameters = _read_bytes(f"{sys}/kernel/boot_params/data")
    if len(parameters) > 0x1EC and parameters[0x1EC] in (2, 3):  # enum efi_secureboot_mode
        return parameters[0x1EC] == 3
    # The variable's global namespace; four bytes of attributes come first (efivarfs).
    variable = _read_bytes(f"{sys}/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
    if len(variable) == 5:
        return variable[4] == 1
    return None if os.path.isdir(f"{sys}/firmware/efi") else False


def _pci(folder: str) -> list[dict[str, str]]:
    """The devices that do something by themselves: no bridges, no timers and the like."""
    found: list[dict[str, str]] = []
    if not os.path.isdir(folder):
        return found
    for slot in sorted(os.listdir(folder)):
        device = f"{folder}/{slot}"
        kind = read_text(f"{device}/class").removeprefix("0x")
        if kind[:2] in (_BRIDGE, _SYSTEM_PERIPHERAL):
            continue
        names = ("vendor", "device", "subsystem_vendor", "subsystem_device")
        vendor, product, *subsystem = (read_text(f"{device}/{name}").removeprefix("0x") for name in names)
        driver = f"{device}/driver"
        found.append(
            {
                "slot": slot,
                "class": kind[:4],
                "id": f"{vendor}:{product}",
                "subsystem": ":".join(subsystem),
                "driver": os.path.basename(os.path.realpath(driver)) if os.path.exists(driver) else "",
            }
        )
    return found


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

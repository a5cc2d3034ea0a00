"""Disks that say on the serial console that they were started."""

from __future__ import annotations

import subprocess
from pathlib import Path

SAYS = "this disk was started"
TOOLS = {"/usr/sbin/sfdisk": "fdisk", "/usr/bin/mcopy": "mtools", "/usr/sbin/mkfs.vfat": "dosfstools"}
GRUB = Path("/usr/lib/grub/x86_64-efi")
SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
SIGNED_GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")

_MIB = 1 << 20
# Writes the text after it, up to a NUL, to the first serial port, and stops.
_BOOT_CODE = bytes.fromhex("31c0 8ed8 be167c baf803 fc ac 84c0 7403 ee ebf8 f4 ebfd")


def missing_packages(*files: Path) -> list[str]:
    """The Debian packages that making a disk needs and that are not installed."""
    packages = {package for tool, package in TOOLS.items() if not Path(tool).exists()}
    owners = {GRUB: "grub-efi-amd64-bin", SHIM: "shim-signed"}
    return sorted(packages | {owners.get(file, "grub-efi-amd64-signed") for file in files if not file.exists()})


def bios_disk(path: Path) -> Path:
    """A disk whose boot sector says it."""
    code = _BOOT_CODE + SAYS.encode() + b"\r\n\0"
    with path.open("wb") as disk:
        disk.write(code.ljust(510, b"\0") + b"\x55\xaa")
        disk.truncate(8 * _MIB)
    return path


def uefi_disk(path: Path) -> Path:
    """A disk whose EFI/BOOT/BOOTX64.EFI says it; nothing on it is signed."""
    configuration, program = path.with_suffix(".cfg"), path.with_suffix(".efi")
    configuration.write_text(_says())
    _run(
        "grub-mkimage", "-O", "x86_64-efi", "-p", "/none", "-c", configuration, "-o", program, "echo", "sleep", "normal"
    )
    return _disk(path, {"EFI/BOOT/BOOTX64.EFI": program})


def signed_uefi_disk(path: Path) -> Path:
    """A disk as Debian installs it for Secure Boot: shim and GRUB, whose configuration says it."""
    configuration = path.with_suffix(".cfg")
    configuration.write_text(_says())
    files = {"shimx64.efi": SHIM, "grubx64.efi": SIGNED_GRUB, "grub.cfg": configuration}
    return _disk(path, {f"EFI/debian/{name}": file for name, file in files.items()})


def _says() -> str:
    return f"echo '{SAYS}'\nsleep 600\n"


def _disk(path: Path, files: dict[str, Path]) -> Path:
    """A GPT with an EFI system partition that holds `files`."""
    with path.open("wb") as disk:
        disk.truncate(68 * _MIB)
    partition = path.with_suffix(".esp")
    with partition.open("wb") as disk:
        disk.truncate(64 * _MIB)
    _run("mkfs.vfat", "-F", "32", partition)
    for folder in sorted({parent.as_posix() for name in files for parent in Path(name).parents} - {"."}):
        _run("mmd", "-i", partition, f"::{folder}")
    for name, file in files.items():
        _run("mcopy", "-i", partition, file, f"::{name}")
    _run("sfdisk", "--quiet", path, feed="label: gpt\nstart=1MiB, size=64MiB, type=U\n")
    with path.open("r+b") as disk:
        disk.seek(_MIB)
        disk.write(partition.read_bytes())
    return path


def _run(*command: str | Path, feed: str | None = None) -> None:
    subprocess.run(command, input=feed, check=True, capture_output=True, text=True)

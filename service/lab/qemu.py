"""A real virtual machine in the virtual rack: QEMU without hardware virtualization, booting from a leaf's port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from service.lab.console import SerialLine
from service.lab.parts import BootSource, Nic

log = structlog.get_logger()

DiskKind = Literal["virtio", "nvme", "scsi", "sata"]
Firmware = Literal["bios", "uefi", "uefi-http", "uefi-secure", "uefi-arm64", "uefi-arm64-http"]

_TAIL_BYTES = 4000
_UNTAKEN_BYTES = 4096  # typed at a serial line
_DISK_DEVICES: dict[
    DiskKind, str
] = {  # {} is the disk's number; the sockets of q35's own controller are ide.0 to ide.5
    "virtio": "virtio-blk-pci",
    "nvme": "nvme",
    "scsi": "scsi-hd,bus=scsi.0",
    "sata": "ide-hd,bus=ide.{}",
}

# Program: the Debian package that has it.
NEEDS = {"setpriv": "util-linux", "ip": "iproute2"}


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """One disk of a virtual machine. `sector` is its logical sector size in bytes; `sata` knows 512 only."""

    bytes: int = 8 << 30
    kind: DiskKind = "virtio"
    sector: int = 512


@dataclass(frozen=True, slots=True)
class Platform:
    """A kind of firmware, and the machine that it runs on."""

    program: str
    arguments: tuple[str, ...]
    files: dict[str, str]  # what must be there, and the Debian package that has it
    code: Path | None = None  # UEFI: the firmware's code
    variables: Path | None = None  # UEFI: its variables as they are at first
    nic: str = ""  # further properties of the network card
    arch: str = "amd64"
    secure_boot: bool = False

    def missing_packages(self) -> list[str]:
        """The Debian packages that must be installed before such a machine can be started."""
        packages = {package for program, package in NEEDS.items() if shutil.which(program) is None}
        packages |= {package for path, package in self.files.items() if not Path(path).exists()}
        return sorted(packages)


def _ovmf(
    code: str, variables: str, *arguments: str, machine: str = "q35,graphics=off", secure_boot: bool = False
) -> Platform:
    files = {f"/usr/share/OVMF/{name}": "ovmf" for name in (code, variables)}
    return Platform(
        "qemu-system-x86_64",
        ("-M", machine, *arguments),
        {"/usr/bin/qemu-system-x86_64": "qemu-system-x86", **files},
        code=Path("/usr/share/OVMF", code),
        variables=Path("/usr/share/OVMF", variables),
        nic=",romfile=",  # without the card's ROM, which is iPXE, the firmware's own client asks
        secure_boot=secure_boot,
    )


def _aavmf(*arguments: str) -> Platform:
    return Platform(
        "qemu-system-aarch64",
        # Without a name it is a processor of 32 bits.
        ("-M", "virt", "-cpu", "cortex-a57", *arguments),
        {
            "/usr/bin/qemu-system-aarch64": "qemu-system-arm",
            "/usr/share/AAVMF/AAVMF_CODE.fd": "qemu-efi-aarch64",
        },
        code=Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
        variables=Path("/usr/share/AAVMF/AAVMF_VARS.fd"),
        nic=",romfile=",
        arch="arm64",
    )


_NO_PXE4 = ("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
_NO_PXE6 = ("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")

PLATFORMS: dict[Firmware, Platform] = {
    # SeaBIOS; the network card's ROM is iPXE.
    "bios": Platform(
        "qemu-system-x86_64",
        ("-M", "q35,graphics=off"),
        {"/usr/bin/qemu-system-x86_64": "qemu-system-x86", "/usr/lib/ipxe/qemu/pxe-virtio.rom": "ipxe-qemu"},
    ),
    "uefi": _ovmf("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", *_NO_PXE6),
    # OVMF tries PXE before HTTP at a network card, and its boot order tells the two not apart: so without PXE.
    "uefi-http": _ovmf("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", *_NO_PXE4, *_NO_PXE6),
    # Microsoft's keys are enrolled, Secure Boot is on, and only System Management Mode may write the variables.
    "uefi-secure": _ovmf(
        *("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
        *("-global", "driver=cfi.pflash01,property=secure,value=on"),
        *_NO_PXE6,
        machine="q35,graphics=off,smm=on",
        secure_boot=True,
    ),
    "uefi-arm64": _aavmf(*_NO_PXE6),
    "uefi-arm64-http": _aavmf(*_NO_PXE4, *_NO_PXE6),
}


class MachineError(Exception):
    """The virtual machine could not be started."""


class QemuMachine:
    """A machine with disks and one network card, plugged into `tap`; a `service.lab.parts.PowerTarget`.

    Its first disk is the file `disk_path`, the second one lies beside it as NAME-2, and so on; each is made as a sparse
    file when it is not there. Serial numbers are the machine's name, NAME-2, … QEMU dies with this process. A reset by
    the guest starts it anew with the default boot order, as a BMC's boot override holds for one start only.
    """

    def __init__(
        self,
        name: str,
        nic: Nic,
        tap: str,
        disk_path: Path,
        firmware: Firmware = "bios",
        *,
        memory_mb: int = 2048,
        disks: tuple[DiskSpec, ...] = (DiskSpec(),),
    ) -> None:
        self.name = name
        self.nic = nic
        self.console_log = disk_path.with_suffix(".console.log")
        self.console = SerialLine()
        self._tap = tap
        self._disk = disk_path
        self._disks = disks
        self._firmware = firmware
        self._platform = PLATFORMS[firmware]
        self._memory_mb = memory_mb
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def mac(self) -> str:
        """The address of its card."""
        return self.nic.mac

    @property
    def powered(self) -> bool:
        """True while the machine is on."""
        return self._watch is not None and not self._watch.done()

    async def power_on(self, boot: BootSource) -> None:
        """Start it, unless it is on. Raises MachineError when QEMU does not come up."""
        async with self._lock:
            if self.powered:
                return
            self.console_log.unlink(missing_ok=True)
            process = await self._start(boot)
            self._watch = asyncio.create_task(self._attend(process), name=f"qemu-{self.name}")

    async def power_off(self) -> None:
        """Cut the power: what the guest has not written is lost, as on a real machine."""
        async with self._lock:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.gather(self._watch, return_exceptions=True)
                self._watch = None
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
                self._process = None
                log.info("qemu_powered_off", machine=self.name)

    def console_tail(self) -> str:
        """The end of what the machine has printed on its serial console since it was last switched on."""
        try:
            data = self.console_log.read_bytes()[-_TAIL_BYTES:]
        except FileNotFoundError:
            return ""
        return data.decode("utf-8", "replace").replace("\r", "")

    def arguments(self, boot: BootSource, line: int) -> list[str]:
        """QEMU's command line for one start; `line` is the open file that its serial line ends in."""
        disk_index, nic_index = (1, len(self._disks) + 1) if boot == "disk" else (2, 1)
        firmware: list[str] = []
        if self._platform.code is not None:
            firmware = [
                *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={self._platform.code}"),
                *("-drive", f"if=pflash,format=raw,unit=1,file={self._variables}"),
            ]
        return [
            # Never KVM: a device file says nothing about whether a guest boots on it.
            *(self._platform.program, "-accel", "tcg,thread=multi", *self._platform.arguments),
            *("-smp", "2", "-m", str(self._memory_mb)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-name", self.name, "-no-reboot"),
            *("-qmp", "stdio", "-chardev", self._console(line)),
            *("-serial", "chardev:console"),
            *firmware,
            *("-netdev", f"tap,id=net0,ifname={self._tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net0,mac={self.nic.mac},bootindex={nic_index}{self._platform.nic}"),
            *self._disk_arguments(disk_index),
            *("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"),
        ]

    def _console(self, line: int) -> str:
        return f"socket,id=console,fd={line},logfile={self.console_log},logappend=on"

    def disk_path(self, number: int) -> Path:
        """The file of the disk of that number; the first one's is 0."""
        return self._disk if number == 0 else self._disk.with_stem(f"{self._disk.stem}-{number + 1}")

    def _disk_arguments(self, first_index: int) -> list[str]:
        arguments = []
        if any(disk.kind == "scsi" for disk in self._disks):
            arguments = ["-device", "virtio-scsi-pci,id=scsi"]
        for number, disk in enumerate(self._disks):
            serial = self.name[:20] if number == 0 else f"{self.name[:18]}-{number + 1}"
            # The host's page cache is safe enough for a machine that dies with us.
            backing = f"if=none,id=disk{number},file={self.disk_path(number)},format=raw"
            properties = f"drive=disk{number},serial={serial},bootindex={first_index + number}"
            if disk.sector != 512:
                properties += f",logical_block_size={disk.sector},physical_block_size={disk.sector}"
            arguments += [
                *("-drive", f"{backing},cache=unsafe,discard=unmap,detect-zeroes=unmap"),
                *("-device", f"{_DISK_DEVICES[disk.kind].format(number)},{properties}"),
            ]
        return arguments

    @property
    def _variables(self) -> Path:
        return self._disk.with_suffix(".efivars")

    async def _start(self, boot: BootSource) -> asyncio.subprocess.Process:
        if missing := self._platform.missing_packages():
            raise MachineError(f"packages are missing; as root: apt-get install {' '.join(missing)}")
        self._disk.parent.mkdir(parents=True, exist_ok=True)
        for number, disk in enumerate(self._disks):
            if not self.disk_path(number).exists():
                with self.disk_path(number).open("wb") as file:
                    file.truncate(disk.bytes)
        if self._platform.variables is not None and not self._variables.exists():
            shutil.copyfile(self._platform.variables, self._variables)
        ours, theirs = socket.socketpair()
        with theirs:
            # setpriv sets the parent-death signal without running Python between fork and exec.
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", *self.arguments(boot, theirs.fileno())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
            )
        await asyncio.get_running_loop().create_connection(lambda: _Line(self.console), sock=ours)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        greeting = await process.stdout.readline()
        if b'"QMP"' not in greeting:
            complaint = (await process.stderr.read()).decode(errors="replace").strip()
            await process.wait()
            raise MachineError(f"{self.name}: QEMU did not start: {complaint[-1000:]}")
        process.stdin.write(b'{"execute": "qmp_capabilities"}\n')
        self._process = process
        log.info("qemu_powered_on", machine=self.name, boot=boot, firmware=self._firmware, pid=process.pid)
        return process

    async def _attend(self, process: asyncio.subprocess.Process) -> None:
        """Read QEMU's events until the machine is off; start it again after a reset by the guest."""
        while True:
            reason = await _shutdown_reason(process)
            await process.wait()
            log.info("qemu_stopped", machine=self.name, reason=reason)
            if reason != "guest-reset":
                return
            process = await self._start("none")


class _Line(asyncio.Protocol):
    """Our end of a QEMU's serial line; it ends with that QEMU."""

    def __init__(self, line: SerialLine) -> None:
        self._line = line
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line.typed = self._typed

    def data_received(self, data: bytes) -> None:
        self._line.print(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._line.typed == self._typed:
            self._line.typed = None

    def _typed(self, data: bytes) -> None:
        # A machine that takes nothing in loses what does not fit, as its real line would.
        if self._transport is not None and self._transport.get_write_buffer_size() < _UNTAKEN_BYTES:
            self._transport.write(data)


async def _shutdown_reason(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    reason = "gone"
    while line := await process.stdout.readline():
        message = json.loads(line)
        if message.get("event") == "SHUTDOWN":
            reason = str(message["data"]["reason"])
    return reason

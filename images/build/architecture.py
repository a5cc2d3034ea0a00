"""The architectures that installers are built for, and running a program of one that is not this machine's."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from images.build.host import BuildError, run, which


@dataclass(frozen=True, slots=True)
class Architecture:
    """What an installer is built for. `loader` is the path of the program loader, as programs themselves name it."""

    debian: str  # what dpkg calls it
    slug: str  # the installer's in the store
    kernel_package: str
    loader: str
    emulator: str  # QEMU's user-mode emulator, statically linked


AMD64 = Architecture("amd64", "installer", "linux-image-amd64", "/lib64/ld-linux-x86-64.so.2", "qemu-x86_64-static")
ARM64 = Architecture(
    "arm64", "installer-arm64", "linux-image-arm64", "/lib/ld-linux-aarch64.so.1", "qemu-aarch64-static"
)

Kernel = Literal["server", "cloud"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


def with_kernel(architecture: Architecture, kernel: Kernel) -> Architecture:
    """The architecture with one of Debian's two kernels.

    "server" has the drivers of servers. "cloud" has those of virtual machines, of NVMe and AHCI and of some network
    cards, and a virtual machine starts it in little more than half the time.
    """
    name = f"linux-image-{architecture.debian}" if kernel == "server" else f"linux-image-cloud-{architecture.debian}"
    return replace(architecture, kernel_package=name)


def is_native(architecture: Architecture) -> bool:
    """True where this machine runs the architecture's programs by itself."""
    return run(["dpkg", "--print-architecture"]).strip() == architecture.debian


class Root:
    """A tree of unpacked packages of one architecture, whose programs can be run."""

    def __init__(self, tree: Path, architecture: Architecture) -> None:
        """Raises BuildError where the programs are foreign and there is no emulator."""
        self.tree = tree
        self.architecture = architecture
        self._command: list[str | Path] = ["chroot", tree]
        if not is_native(architecture):
            emulator = which(architecture.emulator)
            if emulator is None:
                raise BuildError(f"{architecture.emulator} is missing; as root: apt-get install qemu-user-static")
            # Named as the interpreter of the command, it needs no registration with this machine's kernel.
            shutil.copy(emulator, tree / architecture.emulator)
            self._command.append(f"/{architecture.emulator}")

    def run(self, argv: Sequence[str | Path]) -> str:
        """Run one of the tree's programs, named by its path in it; its standard output. Raises BuildError."""
        return run([*self._command, *argv])

    def libraries(self, programs: Iterable[str]) -> dict[str, Path]:
        """The shared libraries that the programs load, by file name, as their own loader finds them."""
        found = {}
        for program in sorted(programs):
            for line in self.run([self.architecture.loader, "--list", program]).splitlines():
                name, arrow, rest = line.strip().partition(" => ")
                path = rest.split(" (")[0] if arrow else name.split(" (")[0]
                if path.startswith("/") and path != self.architecture.loader:
                    found[Path(path).name] = self.tree / path[1:]
        return found

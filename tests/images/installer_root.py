"""The built installer unpacked to a folder, as the root of processes that have a network of their own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.agent import toolbox
from images.build import installer
from images.build.host import which
from images.store import load

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
AGENT = Path(installer.__file__).parents[1] / "agent"
_DEVICES = {"null": (1, 3), "zero": (1, 5), "urandom": (1, 9), "tty": (5, 0), "ptmx": (5, 2)}


@dataclass(frozen=True, slots=True)
class Root:
    """The installer's root folder, and a network namespace with a card that has the default route."""

    tree: Path
    namespace: str

    def ip(self, *words: str) -> str:
        """`ip` in the namespace."""
        done = subprocess.run(["ip", "-n", self.namespace, *words], capture_output=True, text=True, check=True)
        return done.stdout


@contextmanager
def installer_root(tree: Path) -> Iterator[Root]:
    """Unpack it to the folder `tree`, with the agent of this source tree; skips the test where that cannot be done."""
    found = load(IMAGES).get("installer")
    if found is None or found.toolbox is None:
        pytest.skip(f"needs the installer in {IMAGES} (roundhouse image build installer)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to change the root folder")
    if missing := [program for program in ("ssh", "ssh-keygen") if which(program) is None]:
        pytest.skip(f"needs the Debian package openssh-client for {', '.join(missing)}")
    for stored in (found.initrd, found.toolbox):
        toolbox.unpack(bytearray((IMAGES / stored.file).read_bytes()), str(tree))
    for source in AGENT.glob("*.py"):
        shutil.copy(source, tree / "usr/lib/python3.11/images/agent")
    for name, (major, minor) in _DEVICES.items():
        os.mknod(tree / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    name = f"g-root-{os.getpid()}"
    made = Root(tree, name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            "link set lo up",
            "link add card type veth peer name leaf",
            "link set card up",
            "link set leaf up",
            "addr add 10.64.0.25/31 dev card",
            "route add default via 10.64.0.24 dev card",
        ):
            made.ip(*words.split())
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)

"""The TFTP servers of the benchmark, each in processes of its own: ours, and those that others run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.lab.ports import free_port

OURS = "roundhouse"
_LOCAL = "127.0.0.1"
_TFTPY = "import sys, tftpy; tftpy.TftpServer(sys.argv[1]).listen(sys.argv[2], int(sys.argv[3]))"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server."""

    name: str
    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """What curl calls it."""
        return f"tftp://{self.host}:{self.port}"


def _ours(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "tests.bench.tftp_server", _LOCAL, str(port), str(folder)]


def _tftpd_hpa(folder: Path, port: int) -> list[str]:
    return [_program("in.tftpd", "tftpd-hpa"), "-L", "-a", f"{_LOCAL}:{port}", "-u", "nobody", "-s", str(folder)]


def _atftpd(folder: Path, port: int) -> list[str]:
    options = ["--daemon", "--no-fork", "--bind-address", _LOCAL, "--port", str(port), "--user", "nobody"]
    return [_program("atftpd", "atftpd"), *options, "--maxthread", "1000", "--logfile", "-", str(folder)]


def _dnsmasq(folder: Path, port: int) -> list[str]:
    options = ["--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--listen-address=127.0.0.2"]
    return [_program("dnsmasq", "dnsmasq-base"), *options, "--enable-tftp", f"--tftp-root={folder}", "--tftp-max=1000"]


def _tftpy(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-c", _TFTPY, str(folder), _LOCAL, str(port)]


_COMMANDS: dict[str, Callable[[Path, int], list[str]]] = {
    OURS: _ours,
    "tftpd-hpa": _tftpd_hpa,
    "atftpd": _atftpd,
    "dnsmasq": _dnsmasq,
    "tftpy": _tftpy,
}
_NEED_ROOT = ("tftpd-hpa", "atftpd", "dnsmasq")


def _program(name: str, package: str) -> str:
    """The program; of a package that is not installed, unpacked beside (tftpd-hpa and atftpd exclude one another).

    Raises FileNotFoundError.
    """
    beside = Path("build/peers") / package
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", str(beside / "usr/sbin")))
    if (found := shutil.which(name, path=path)) is not None:
        return str(Path(found).absolute())
    beside.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", package], cwd=beside, capture_output=True, check=True)
        (archive,) = beside.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, beside], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError, ValueError) as err:
        raise FileNotFoundError(f"needs the package {package}") from err
    return str((beside / "usr/sbin" / name).absolute())


@contextmanager
def running(name: str, folder: Path, probe: str) -> Iterator[Peer]:
    """Serve the folder until the block ends. Raises FileNotFoundError where the server is not to be had."""
    if name in _NEED_ROOT and os.geteuid() != 0:
        raise FileNotFoundError("needs root")
    # dnsmasq's port is what it is.
    host, port = ("127.0.0.2", 69) if name == "dnsmasq" else (_LOCAL, free_port(socket.SOCK_DGRAM, _LOCAL))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(_COMMANDS[name](folder, port), stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    try:
        peer = Peer(name, host, port, process.pid)
        for _ in range(50):
            if subprocess.run(["curl", "-sf", "-m", "1", f"{peer.url}/{probe}"], stdout=quiet).returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise FileNotFoundError("does not start")
        yield peer
    finally:
        process.terminate()
        process.wait()


def names() -> list[str]:
    """All of them, ours first."""
    return list(_COMMANDS)

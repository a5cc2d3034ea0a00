"""A leaf whose NETCONF server is not ours: Debian's netconfd behind OpenSSH, with Juniper's models."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncssh

from netconf.session import LeafAddress
from service.lab.ports import free_port
from tests.netconf.junos_models import MODULES, NAMESPACES, unpack
from tests.netconf.paced import paced

_NETCONFD, _SUBSYSTEM, _SSHD = "/usr/sbin/netconfd", "/usr/sbin/netconf-subsystem", "/usr/sbin/sshd"
_SSHD_RUN = Path("/run/sshd")  # compiled in; a sshd that is root does not start without it
_STARTUP = '<nc:config xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0"/>'
_SSHD_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/client.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem netconf {subsystem} --ncxserver-sockname={port}@{directory}/paced
"""


def why_not() -> str:
    """What keeps netconfd from being run here, or nothing."""
    missing = [path for path in (_NETCONFD, _SUBSYSTEM, _SSHD) if not os.access(path, os.X_OK)]
    return f"not installed: {', '.join(missing)} (Debian: netconfd, openssh-server)" if missing else ""


@contextmanager
def _running(log: Path, *command: str) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(log.parent)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield
    finally:
        # Asked to end, netconfd takes a second to; it has nothing to save here.
        process.kill()
        process.wait()


@contextmanager
def _machine_as_found() -> Iterator[None]:
    """Two directories that must be where they are: there while the block runs, gone after it unless found."""
    netconfd_home = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".yuma"  # it does not ask $HOME; it stays empty
    new = [path for path in (netconfd_home, _SSHD_RUN) if not path.exists()]
    if os.geteuid() == 0:
        _SSHD_RUN.mkdir(mode=0o755, exist_ok=True)
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):  # never made, or in use by now
                path.rmdir()


def _await_answers(directory: Path, port: int) -> None:
    for _ in range(600):
        try:
            with socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(str(directory / "socket"))
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(directory.glob("*.log")))
    raise AssertionError(f"netconfd or sshd did not start:\n{logs}")


@contextmanager
def netconfd() -> Iterator[LeafAddress]:
    """A netconfd without any configuration, with its own sshd, while the block runs."""
    # Not below pytest's own directories: their paths are too long for a Unix socket.
    directory = Path(tempfile.mkdtemp(prefix="netconfd-"))
    port = free_port(socket.SOCK_STREAM, "127.0.0.1")
    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(directory / "host")
    (directory / "host").chmod(0o600)
    client.write_public_key(directory / "client.pub")
    (directory / "startup.xml").write_text(_STARTUP)
    # Found here, its count of commits is kept here; otherwise in the real home.
    (directory / ".yuma").mkdir()
    (directory / ".yuma" / "startup-cfg-txid.txt").write_text("1\n")
    unpack(directory)
    config = _SSHD_CONFIG.format(port=port, directory=directory, subsystem=_SUBSYSTEM)
    (directory / "sshd_config").write_text(config)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        stack.enter_context(_machine_as_found())
        stack.enter_context(
            _running(
                directory / "netconfd.log",
                _NETCONFD,
                f"--ncxserver-sockname={directory}/socket",
                f"--port={port}",
                f"--superuser={getpass.getuser()}",
                f"--startup={directory}/startup.xml",
                f"--modpath={directory}:/usr/share/yuma/modules",
                *(f"--module={module}" for module in MODULES),
                "--target=candidate",
                "--access-control=off",
                "--log-level=error",
            )
        )
        stack.enter_context(paced(directory / "paced", directory / "socket"))
        stack.enter_context(_running(directory / "sshd.log", _SSHD, "-D", "-e", "-f", str(directory / "sshd_config")))
        _await_answers(directory, port)
        yield LeafAddress(
            "127.0.0.1",
            port,
            getpass.getuser(),
            password="",
            host_key=host.export_public_key().decode().strip(),
            namespaces=NAMESPACES,
            private_key=client.export_private_key().decode(),
        )

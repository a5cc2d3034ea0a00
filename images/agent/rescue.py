"""A login for people: an SSH server in the RAM root, until the work is withdrawn."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time

from images.agent import toolbox
from images.agent.errors import WorkFailed
from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from images.protocol import Address, RescueResult, RescueSpec

    Report = Callable[..., None]  # stage, bytes done, bytes in all, result=…; raises when the work was withdrawn

_STAGE = "rescue"
_TELL_S = 15
_OPEN_S = 20
_KEY = "/etc/dropbear/host_key"
_HOME = "/root"
_AUTHORIZED = f"{_HOME}/.ssh/authorized_keys"
_TABLE = 100  # of routes for the addresses that are taken here
_ACCOUNTS = {
    "/etc/passwd": ("root:x:0:0:root:/root:/bin/sh\n", 0o644),
    "/etc/group": ("root:x:0:\ntty:x:5:\n", 0o644),
    "/etc/shadow": ("root:*:19700:0:99999:7:::\n", 0o600),
    "/etc/shells": ("/bin/sh\n", 0o644),
    "/etc/profile": ("PS1='rescue:\\w# '\n", 0o644),
}


def rescue(spec: RescueSpec, report: Report) -> RescueResult:
    """Let people in by their keys and stay. It ends by what `report` raises; then nobody is left logged in.

    The host key is new each time. Raises WorkFailed where the server does not start, or ends.
    """
    if not spec["ssh_keys"]:
        raise WorkFailed(_STAGE, "there is no SSH key to let anybody in by")
    toolbox.need("dropbear", "dropbearkey")
    try:
        told: RescueResult = {"host_keys": [_prepare(spec["ssh_keys"])], "port": spec["port"]}
        nic = _boot_nic()
        for address in spec["addresses"]:
            take_address(nic, address)
    except (CommandFailed, OSError) as err:
        raise WorkFailed(_STAGE, str(err)) from err
    # In a session of its own, which all logins begin in: ending that group ends them, too.
    server = subprocess.Popen(
        ["dropbear", "-F", "-E", "-s", "-j", "-k", "-r", _KEY, "-p", str(spec["port"])], start_new_session=True
    )
    try:
        _await_open(server, spec["port"])
        while True:
            _check(server)
            report(_STAGE, 0, 0, result=told)
            time.sleep(_TELL_S)
    finally:
        _end(server)
        for address in spec["addresses"]:
            leave_address(nic, address)
        os.unlink(_AUTHORIZED)


def _check(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is not None:
        raise WorkFailed(_STAGE, f"the SSH server ended with exit code {server.returncode}")


def _await_open(server: subprocess.Popen[bytes], port: int) -> None:
    """Whoever is told the host key comes at once: nobody is told before the server lets people in."""
    last = time.monotonic() + _OPEN_S
    while True:
        _check(server)
        try:
            socket.create_connection((b"127.0.0.1", port), 1).close()  # type: ignore[arg-type]
            return
        except OSError as err:
            if time.monotonic() > last:
                raise WorkFailed(_STAGE, f"the SSH server does not answer: {err}") from err
        time.sleep(0.1)


def _prepare(keys: Sequence[str]) -> str:
    """Accounts, keys and terminals; the public half of the new host key."""
    for path, (text, mode) in _ACCOUNTS.items():
        if not os.path.exists(path):
            _write(path, text, mode)
    os.makedirs(f"{_HOME}/.ssh", mode=0o700, exist_ok=True)
    os.chmod(_HOME, 0o700)
    _write(_AUTHORIZED, "".join(f"{key.strip()}\n" for key in keys), 0o600)
    if not os.path.exists("/dev/pts/ptmx"):
        os.makedirs("/dev/pts", exist_ok=True)
        run(["mount", "-t", "devpts", "-o", "gid=5,mode=620", "devpts", "/dev/pts"])
    os.makedirs(os.path.dirname(_KEY), mode=0o700, exist_ok=True)
    if os.path.exists(_KEY):
        os.unlink(_KEY)
    said = run(["dropbearkey", "-t", "ed25519", "-f", _KEY])
    return next(line.strip() for line in said.splitlines() if line.startswith("ssh-ed25519 "))


def _write(path: str, text: str, mode: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _boot_nic() -> str:
    """The card that leads to the service."""
    words = run(["ip", "-4", "route", "show", "default"]).split()
    return words[words.index("dev") + 1]


def take_address(nic: str, address: Address) -> None:
    """Take one of the order's addresses beside the boot link's; its packets leave by its own gateway."""
    family = ["-6"] if ":" in address["address"] else ["-4"]
    host = address["address"].partition("/")[0]
    run(["ip", *family, "addr", "replace", address["address"], "dev", nic])
    if not address["public"]:
        return
    table = str(_TABLE)
    run(["ip", *family, "route", "replace", "default", "via", address["gateway"], "dev", nic, "onlink", "table", table])
    if f"from {host} lookup" not in run(["ip", *family, "rule", "show"]):
        run(["ip", *family, "rule", "add", "from", host, "lookup", table])


def leave_address(nic: str, address: Address) -> None:
    """Give it up again, as far as it is there."""
    family = ["-6"] if ":" in address["address"] else ["-4"]
    host = address["address"].partition("/")[0]
    for words in (["rule", "del", "from", host], ["addr", "del", address["address"], "dev", nic]):
        try:
            run(["ip", *family, *words])
        except CommandFailed as err:
            print(f"roundhouse: rescue: {err}", flush=True)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and everybody who came in by it: each login has a session of its own, and one ancestor."""
    ended = _children_of(server.pid)
    server.kill()
    for pid in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.wait()


def _children_of(ancestor: int) -> list[int]:
    """All processes below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with (
                contextlib.suppress(OSError),  # it has just ended
                open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file,
            ):
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    found, new = [], {ancestor}
    while new := {pid for pid, parent in parents.items() if parent in new}:
        found += sorted(new)
    return found

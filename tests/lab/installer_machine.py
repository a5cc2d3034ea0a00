"""The built in-RAM installer in QEMU, started without firmware's network boot, and a service that its agent talks to.

QEMU's own network stands for the rack: the machine reaches this process at 10.0.2.2 and needs no privilege for it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from images.store import Artefact, load
from service.lab.ports import free_port
from service.lab.qemu import PLATFORMS
from tests.firmware.scene import IMAGES

MAC = "52:54:00:00:07:01"
SECOND_MAC = "52:54:00:00:07:02"


def built() -> Artefact:
    """The image store's installer, with its toolbox; skips the test where it or QEMU is missing."""
    if missing := PLATFORMS["bios"].missing_packages():
        pytest.skip(f"needs the Debian packages {', '.join(missing)}")
    found = load(IMAGES).get("installer")
    if found is None or found.toolbox is None:
        pytest.skip(f"needs the installer in {IMAGES} (roundhouse image build installer)")
    return found


class Service(ThreadingHTTPServer):
    """Hands out `work`, one piece after another, and keeps what it is told. `files` are served by their path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://10.0.2.2:{self.server_port}"  # as a machine with QEMU's own network sees it
        self.changed = threading.Condition()
        self.work: list[dict[str, Any]] = []
        self.inventory: dict[str, Any] = {}
        self.hellos = self.polls = self.inventories = 0
        self.progress: list[dict[str, Any]] = []
        self.ended: dict[str, tuple[str, Any]] = {}  # by work: "done" or "failed", and the body
        self.withdrawn: set[str] = set()
        self.files: dict[str, Path | bytes] = {}
        self.down = False  # every call is answered 503
        self.sessions = 0  # the number of the session that counts

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""

    def until(self, true: Callable[[], Any], limit_s: float = 120) -> None:
        """Wait until something that was told makes it true."""
        until = time.monotonic() + limit_s
        with self.changed:
            while not true():
                if (left := until - time.monotonic()) <= 0:
                    raise TimeoutError
                self.changed.wait(min(left, 1))

    def offer(self, name: str, kind: str, spec: dict[str, Any]) -> None:
        """Another piece of work."""
        with self.changed:
            self.work.append({"id": name, "kind": kind, "spec": spec})
            self.changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        service, path = self.server, self.path.partition("?")[0]
        if path == "/agent/v1/work" and not self._refused():
            with service.changed:
                service.polls += 1
                service.changed.notify_all()
                until = time.monotonic() + 10
                while not service.work and not service.down and time.monotonic() < until:
                    service.changed.wait(0.5)
                work = service.work[0] if service.work else None
            self._answer(204 if work is None else 200, work)
        elif path != "/agent/v1/work":
            content = service.files.get(path)
            raw = content.read_bytes() if isinstance(content, Path) else content
            self.send_response(404 if raw is None else 200)
            self.send_header("Content-Length", str(len(raw or b"")))
            self.end_headers()
            self.wfile.write(raw or b"")

    def do_POST(self) -> None:
        service = self.server
        left, pieces = int(self.headers["Content-Length"]), []
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
            if self.path != "/agent/v1/sink":
                pieces.append(piece)
        if self.path != "/agent/v1/hello" and self._refused():
            return
        body = json.loads(b"".join(pieces)) if pieces else {}
        with service.changed:
            status, answer = self._told(body)
            service.changed.notify_all()
        self._answer(status, answer)

    def _refused(self) -> bool:
        service = self.server
        if service.down:
            self._answer(503, None)
            return True
        if self.path != "/agent/v1/sink" and self.headers.get("Authorization") != f"Bearer s{service.sessions}":
            self._answer(401, None)
            return True
        return False

    def _told(self, body: dict[str, Any]) -> tuple[int, Any]:
        service = self.server
        match self.path.split("/")[3:]:
            case ["hello"]:
                service.hellos += 1
                service.inventory |= body["inventory"]
                return 200, {"session": f"s{service.sessions}", "machine": "m1"}
            case ["inventory"]:
                service.inventories += 1
                service.inventory |= body["inventory"]
            case ["sink"]:
                return 200, {}
            case ["work", name, _] if name in service.withdrawn:
                return 409, None
            case ["work", name, "progress"]:
                service.progress.append(body)
            case ["work", name, what]:
                service.ended[name] = (what, body)
                service.work = [one for one in service.work if one["id"] != name]
        return 204, None

    def _answer(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@dataclass(slots=True)
class Machine:
    """The running virtual machine."""

    service: Service
    console_log: Path
    ssh_port: int
    frames_to: int  # UDP port of 127.0.0.1 that takes Ethernet frames for the second card
    process: subprocess.Popen[bytes] = field(repr=False)

    def console(self) -> str:
        """All that it has printed."""
        return self.console_log.read_text(errors="replace").replace("\r", "")

    def until(self, true: Callable[[], Any], limit_s: float = 120) -> None:
        """Wait as the service does; tells the console when it does not come."""
        try:
            self.service.until(lambda: true() or self.process.poll() is not None, limit_s)
        except TimeoutError:
            pytest.fail(f"it did not come so far; console:\n{self.console()[-4000:]}")
        assert true(), f"QEMU ended; console:\n{self.console()[-4000:]}"

    def send_frame(self, frame: bytes) -> None:
        """Put an Ethernet frame on the second card's wire."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(frame, ("127.0.0.1", self.frames_to))


@contextmanager
def running(folder: Path, *arguments: str, memory_mb: int = 1024, reboots: bool = False) -> Iterator[Machine]:
    """Start it with further QEMU arguments; `reboots` lets a reset of the guest start it again."""
    installer = built()
    assert installer.toolbox is not None
    service = Service()
    threading.Thread(target=service.serve_forever, daemon=True).start()
    service.files[f"/images/{installer.toolbox.sha256}"] = IMAGES / installer.toolbox.file
    service.files["/large"] = IMAGES / installer.initrd.file
    ssh, frames, unused = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    words = (
        f"console=ttyS0,115200 roundhouse.url={service.url} roundhouse.token=t BOOTIF=01-{MAC.replace(':', '-')}"
        f" roundhouse.toolbox={installer.toolbox.sha256}"
    )
    log = folder / "console.log"
    command = [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi"),
        *("-M", "q35,graphics=off", "-smp", "2", "-m", str(memory_mb), "-nodefaults", "-no-user-config"),
        *("-display", "none", "-serial", f"file:{log}"),
        *("-kernel", str(IMAGES / installer.kernel.file), "-initrd", str(IMAGES / installer.initrd.file)),
        *("-append", words),
        *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{ssh}-:22"),
        *("-netdev", f"socket,id=n1,udp=127.0.0.1:{unused},localaddr=127.0.0.1:{frames}"),
        # The second card comes first on the bus: the machine must take the one that it booted from.
        *("-device", f"virtio-net-pci,netdev=n1,mac={SECOND_MAC},addr=4"),
        *("-device", f"virtio-net-pci,netdev=n0,mac={MAC},addr=5"),
        *arguments,
        *(() if reboots else ("-no-reboot",)),
    ]
    with subprocess.Popen(command) as process:
        try:
            yield Machine(service, log, ssh, frames, process)
        finally:
            process.kill()
            service.shutdown()
            service.server_close()


def disk(folder: Path, name: str, size: int, device: str) -> tuple[str, ...]:
    """QEMU's arguments for a disk of so many bytes."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return (
        *("-drive", f"if=none,id={name},file={path},format=raw,cache=unsafe"),
        *("-device", f"{device},drive={name},serial=SERIAL-{name}"),
    )

"""Images and small answers over HTTP, against nginx in the same run; each server is a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.http_server import SMALL, SMALL_BYTES
from tests.bench.result import Result

_IMAGE_BYTES = 256_000_000
_CLIENTS = ((1, 12), (50, 1))  # so many at once, so many times
_ROUNDS = 3  # of each server in turn, so that what else the machine does meets both
_BAR = 0.8
_TICKS = os.sysconf("SC_CLK_TCK")

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int  # of the process that sends
    image: str  # the path of the large file
    small: str
    script: str | None

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system (proc(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def _on_one_core(pid: int) -> None:
    """Keep a server on the first core; the reader is on the last. Where the two happen to be decides more, else."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[0]})


@contextmanager
def _ours(folder: Path, sha256: str) -> Iterator[_Server]:
    command = [sys.executable, "-m", "tests.bench.http_server", str(folder / "images")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = int(process.stdout.readline())
            _on_one_core(process.pid)
            yield _Server(port, process.pid, f"/images/{sha256}", f"/boot/files/{SMALL}", "/boot/ipxe")
        finally:
            process.stdin.close()
            process.wait()


@contextmanager
def _nginx(folder: Path, sha256: str) -> Iterator[_Server]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise RuntimeError("needs the package nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    (folder / SMALL).write_bytes(bytes(SMALL_BYTES))
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
    with subprocess.Popen([program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]) as process:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            _on_one_core(worker)
            yield _Server(port, worker, f"/images/{sha256}", f"/{SMALL}", None)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _servers() -> Iterator[tuple[_Server, _Server]]:
    """Ours and nginx, both with the same large file in the page cache."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        (folder / "images").mkdir()
        content = os.urandom(1 << 20) * (_IMAGE_BYTES >> 20)
        sha256 = hashlib.sha256(content).hexdigest()
        (folder / "images" / sha256).write_bytes(content)
        del content
        yield stack.enter_context(_ours(folder, sha256)), stack.enter_context(_nginx(folder, sha256))


def _fetched(server: _Server, clients: int, rounds: int) -> tuple[float, float]:
    """MB per second of the server's CPU, and MB per second."""
    command = [sys.executable, "-m", "tests.bench.http_sink", str(server.port), server.image, str(clients), str(rounds)]
    before = server.cpu()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    total, seconds = int(out[0]), float(out[1])
    if total < (_IMAGE_BYTES >> 20 << 20) * clients * rounds:
        raise AssertionError(f"only {total} bytes came")
    return total / (server.cpu() - before) / 1e6, total / seconds / 1e6


def _images() -> list[Result]:
    found = []
    with _servers() as (ours, nginx):
        for clients, rounds in _CLIENTS:
            both = [(_fetched(ours, clients, rounds), _fetched(nginx, clients, rounds)) for _ in range(_ROUNDS)]
            cpu, peer_cpu, wall, peer_wall = (
                statistics.median(pair[server][what] for pair in both) for what in (0, 1) for server in (0, 1)
            )
            peer = f"nginx, 1 worker: {peer_cpu:,.0f} MB a CPU second"
            note = f"bar {_BAR} × nginx; {wall:,.0f} MB/s, nginx {peer_wall:,.0f}"
            found.append(Result(f"http.images.{clients}", cpu, "MB/CPU-s", clients, note, peer, cpu / peer_cpu))
    return found


def _wrk(server: _Server, path: str, clients: int = 50, seconds: int = 5) -> tuple[float, float]:
    """Requests per second of the server's CPU, and requests per second."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", f"http://127.0.0.1:{server.port}{path}"]
    before = server.cpu()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise AssertionError(out)
    match = re.search(r"(\d+) requests in ", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert match is not None and rate is not None, out
    return int(match[1]) / (server.cpu() - before), float(rate[1])


def _small() -> list[Result]:
    with _servers() as (ours, nginx):
        assert ours.script is not None
        peer_cpu, peer_rate = _wrk(nginx, nginx.small)
        found = []
        for name, path in (("script", ours.script), ("file", ours.small)):
            cpu, rate = _wrk(ours, path)
            note = f"{cpu:,.0f} a CPU second; for information"
            peer = f"nginx, a file of {SMALL_BYTES} bytes: {peer_rate:,.0f}/s"
            found.append(Result(f"http.small.{name}", rate, "requests/s", 50, note, peer, cpu / peer_cpu))
    return found


PARTS: dict[str, Callable[[], list[Result]]] = {"http.images": _images, "http.small": _small}

"""A lab that answers at the names which the clients have built in, over TLS, for processes that are started here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from cryptography import x509

from tests.certificates import certificate

NAMES = ("api.packet.net", "api.equinix.com")  # where the clients go to
TOKEN = "lab-token-of-the-clients"
PLAN = "t1.small.x86"
ROOT = Path(__file__).resolve().parents[2]
_READY_S = 300.0
_HTTPS = 443
_CHUNK = 64 << 10
_IN_NAMESPACE = 'mount --bind "$HOSTS" /etc/hosts && exec "$@"'  # what the process sees of /etc/hosts, and nobody else


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running lab and what a client needs to find it."""

    api: str  # without TLS
    project: str
    hosts: Path
    certificate: Path

    def run(self, argv: Sequence[str], *, limit_s: float, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a client that goes to the names which it has built in."""
        environment = os.environ | {
            "HOSTS": str(self.hosts),
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "SSL_CERT_FILE": str(self.certificate),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", _IN_NAMESPACE, "sh", *argv],
            env=environment | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def run_life(self, module: str) -> None:
        """Run a module of this folder as a customer's program. A failure shows all that it said."""
        done = self.run(
            [sys.executable, "-m", f"tests.clients.{module}"], limit_s=280, TOKEN=TOKEN, PROJECT=self.project, PLAN=PLAN
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def tls_front(address: str, api_port: int, cert: Path, key: Path) -> Iterator[None]:
    """TLS at `address`:443, passed on to the API, while the block runs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", api_port)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(connected, address, _HTTPS, ssl=context)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _ready_line(output: IO[str], errors: Path) -> dict[str, str]:
    timer = threading.Timer(_READY_S, output.close)
    timer.start()
    try:
        line = output.readline()
    finally:
        timer.cancel()
    assert line, f"the lab did not come up: {errors.read_text(encoding='utf-8')}"
    return dict(json.loads(line))


@contextmanager
def running_cloud(folder: Path, *, machines: int) -> Iterator[Cloud]:
    """`roundhouse lab up` and its TLS front while the block runs."""
    if os.geteuid() != 0:
        pytest.skip("a mount namespace and port 443 need root")
    hosts, errors = folder / "hosts", folder / "lab.err"
    address = f"127.77.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF or 1}"
    hosts.write_text(f"127.0.0.1 localhost\n{address} {' '.join(NAMES)}\n", encoding="utf-8")
    cert, key = certificate(folder, *(x509.DNSName(name) for name in NAMES))
    lab = [sys.executable, "-m", "service.cli.main", "lab", "up", "--machines", str(machines), "--leaves", "2"]
    with (
        errors.open("w", encoding="utf-8") as said,
        subprocess.Popen(
            [*lab, "--plan", PLAN, "--api-port", "0", "--token", TOKEN],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=ROOT,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = _ready_line(process.stdout, errors)
            with tls_front(address, int(line["api"].rpartition(":")[2]), cert, key):
                yield Cloud(line["api"], line["project"], hosts, cert)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()

"""Writing an image to a disk: whatever the network or the image does, an image that was not proved does not boot."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from images.agent import stream
from images.protocol import Image

MIB = 1 << 20


def content() -> bytes:
    """A disk of 24 MiB: a boot sector, data with holes in it, something at the end."""
    dice = random.Random(7)
    disk = bytearray(24 * MIB)
    disk[0:512] = b"\x55" * 512
    for place in (1, 5, 6, 17):
        disk[place * MIB : place * MIB + 300_000] = dice.randbytes(300_000)
    disk[-4096:] = b"\xaa" * 4096
    return bytes(disk)


class _Handler(BaseHTTPRequestHandler):
    body: ClassVar[bytes]
    cuts: ClassVar[list[int]]  # bytes after which a connection breaks, one for each connection

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part = self.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.cuts:
            self.wfile.write(part[: self.cuts.pop(0)])
            self.connection.close()
        else:
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[tuple[type[_Handler], str]]:
    handler = type("Handler", (_Handler,), {"body": b"", "cuts": []})
    made = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{made.server_port}/image"
    made.shutdown()
    made.server_close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk full of a former customer's data."""
    path = tmp_path / "disk"
    path.write_bytes(b"former customer " * (2 * MIB))
    return path


def packed(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-1", "-c"], input=data, capture_output=True, check=True).stdout


def image_of(url: str, body: bytes, disk_bytes: int) -> Image:
    return {"url": url, "sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body), "disk_bytes": disk_bytes}


def test_the_disk_is_the_image_and_holes_hide_nothing(server: tuple[type[_Handler], str], disk: Path) -> None:
    handler, url = server
    handler.body = packed(content())
    told: list[tuple[int, int]] = []
    written = stream.write_image(
        image_of(url, handler.body, 24 * MIB), str(disk), lambda done, total: told.append((done, total))
    )
    assert disk.read_bytes()[: 24 * MIB] == content()
    assert written < 8 * MIB
    assert told[-1] == (24 * MIB, 24 * MIB)


def test_a_connection_that_breaks_is_gone_on_with(server: tuple[type[_Handler], str], disk: Path) -> None:
    handler, url = server
    handler.body = packed(content())
    handler.cuts = [100_000, 1, 300_000]
    stream.write_image(image_of(url, handler.body, 24 * MIB), str(disk), lambda done, total: None)
    assert disk.read_bytes()[: 24 * MIB] == content()
    assert handler.cuts == []


@pytest.mark.parametrize("fault", ["flipped bit", "other image", "too short", "too long", "no zstd", "disk too small"])
def test_what_is_not_the_image_is_refused_and_does_not_boot(
    server: tuple[type[_Handler], str], disk: Path, fault: str
) -> None:
    handler, url = server
    body, size = packed(content()), 24 * MIB
    image = image_of(url, body, size)
    match fault:
        case "flipped bit":
            body = body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]
        case "other image":
            body = packed(bytes(1) + content()[1:])
            image["bytes"] = len(body)
        case "too short":
            image = image_of(url, body, size + 4096)
        case "too long":
            image = image_of(url, body, size - 4096)
        case "no zstd":
            body = random.Random(1).randbytes(len(body))
            image = image_of(url, body, size)
        case "disk too small":
            image = image_of(url, body, 64 * MIB)
    handler.body = body
    before = disk.read_bytes()[:512]
    with pytest.raises(stream.ImageRefused):
        stream.write_image(image, str(disk), lambda done, total: None)
    assert disk.read_bytes()[:512] in (bytes(512), before)

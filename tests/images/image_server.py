"""A disk with partitions and holes, its image, and an HTTP server for it that misbehaves as told."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from images.build.pack import pack
from images.chunks import Map, Partition
from images.protocol import Image

MIB = 1 << 20
DISK = 40 * MIB
PARTITIONS = (
    Partition(1, MIB, MIB, "21686148-6449-6e6f-744e-656564454649", "bios"),
    Partition(2, 2 * MIB, 4 * MIB, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "esp", "vfat", "F5F5-DFBD"),
    Partition(3, 6 * MIB, 33 * MIB, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root", "ext4"),
)
BOOT = b"boot code and the partition table".ljust(512, b".")


def content() -> bytes:
    """A table at the beginning and its copy at the end; data in every partition, with holes between."""
    dice = random.Random(7)
    disk = bytearray(DISK)
    disk[:512] = BOOT
    for place, size in ((1, 70_000), (2, 300_000), (5, 5000), (6, 9 * MIB), (17, 300_000), (30, MIB)):
        disk[place * MIB : place * MIB + size] = dice.randbytes(size)
    disk[39 * MIB - 4096 : 39 * MIB] = b"\xaa" * 4096
    disk[-4096:] = BOOT * 8
    return bytes(disk)


@dataclass(slots=True)
class ImageServer:
    """What it serves, and how it errs. `asked` are the ranges of the data file that were requested."""

    data: bytes
    map_text: bytes
    map: Map
    url: str = ""
    cuts: list[int] = field(default_factory=list)  # bytes of the data after which a connection breaks, one for each
    dead_after: int | None = None  # so many more requests are answered, then none
    broken_after: int | None = None  # so many more requests are answered, then each by 500
    status: list[int] = field(default_factory=list)  # of the next replies, in place of the content
    missing: bool = False  # of the data
    stall: bool = False  # what is asked of the data does not come for two seconds
    ignores_range: bool = False
    wrong_range: bool = False
    flips: list[int] = field(default_factory=list)  # a bit here is wrong, once for each entry
    asked: list[str] = field(default_factory=list)

    @property
    def image(self) -> Image:
        """What the work says of it."""
        return {
            "url": f"{self.url}/data",
            "bytes": self.map.data_bytes,
            "map_url": f"{self.url}/map",
            "map_sha256": hashlib.sha256(self.map_text).hexdigest(),
            "disk_bytes": self.map.disk_bytes,
        }

    def take_flips(self, start: int, part: bytes) -> bytes:
        """The part of the data that begins at `start`, with the bits wrong that are due."""
        flipped = bytearray(part)
        for place in sorted(set(self.flips)):
            if start <= place < start + len(part):
                self.flips.remove(place)
                flipped[place - start] ^= 1
        return bytes(flipped)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told = cast(_Server, self.server).told
        if told.dead_after is not None:
            told.dead_after -= 1
            if told.dead_after < 0:
                self.connection.close()
                return
        if told.broken_after is not None:
            told.broken_after -= 1
            if told.broken_after < 0:
                self.send_error(500)
                return
        if told.missing and self.path == "/data":
            self.send_error(404)
            return
        if told.stall and self.path == "/data":
            time.sleep(2)
        if told.status:
            self.send_error(told.status.pop(0))
            return
        body = told.map_text if self.path == "/map" else told.data
        ranges = self.headers.get("Range")
        if ranges is None or told.ignores_range:
            self._reply(200, body, {})
            return
        told.asked.append(ranges)
        first, _, last = ranges.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1
        named = start + 512 * told.wrong_range
        part = told.take_flips(start, body[start:end])
        cut = told.cuts.pop(0) if told.cuts else None
        self._reply(206, part, {"Content-Range": f"bytes {named}-{end - 1}/{len(body)}"}, cut)

    def _reply(self, status: int, part: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(part))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client gave up
            self.wfile.write(part[:cut])
        if cut is not None:
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    told: ImageServer


@contextlib.contextmanager
def image_server(
    folder: Path, host: str = "127.0.0.1", raw: Path | None = None, partitions: Sequence[Partition] = PARTITIONS
) -> Iterator[ImageServer]:
    """Pack a disk, that of `content` or another, into `folder`, and serve it while the block runs."""
    data, map_ = folder / "data", folder / "map"
    if raw is None:
        raw = folder / "raw"
        raw.write_bytes(content())
    packed = pack(raw, partitions, data, map_)
    told = ImageServer(data.read_bytes(), map_.read_bytes(), packed)
    server = _Server((host, 0), _Handler)
    server.told = told
    told.url = f"http://{host}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()

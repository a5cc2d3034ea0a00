"""A web server of one's own over a store's folder, which can be told to break in the ways in which servers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(slots=True)
class BrokenServer:
    """What it does wrong, and what it was asked for."""

    root: Path
    cut: int | None = None  # so many bytes of a file's answer, then the connection is closed
    cuts: int = 1 << 30  # so many times
    flip: bool = False  # one bit of each file is turned
    status: int | None = None  # instead of each file
    ignores_ranges: bool = False
    wrong_range: bool = False  # ranges start at the beginning, whatever was asked for
    longer: bytes = b""  # sent behind each file
    index: bytes | None = None  # instead of the store's
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, and range

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One GET."""
        path, asked = request.path.lstrip("/"), request.headers.get("Range")
        self.asked.append((path, asked))
        if path == "index.json" and self.index is not None:
            self._send(request, 200, self.index, {})
            return
        try:
            content = (self.root / path).read_bytes()
        except OSError:
            self._send(request, 404, b"", {})
            return
        if path == "index.json":
            self._send(request, 200, content, {})
            return
        if self.status is not None:
            self._send(request, self.status, b"no", {})
            return
        if self.flip:
            content = bytes([content[0] ^ 1]) + content[1:]
        content += self.longer
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not self.ignores_ranges else 0
        told = 0 if self.wrong_range else start
        headers = {"Content-Range": f"bytes {told}-{len(content) - 1}/{len(content)}"} if start else {}
        self._send(request, 206 if start else 200, content[told:], headers, body=True)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str], body: bool = False
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body and self.cut is not None and self.cuts > 0 and len(content) > self.cut:
            self.cuts -= 1
            content = content[: self.cut]
            request.close_connection = True
        request.wfile.write(content)


@contextmanager
def serving(broken: BrokenServer) -> Iterator[BrokenServer]:
    """It runs while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            broken.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        broken.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield broken
        finally:
            server.shutdown()
            thread.join()

"""A blocking HTTP/1.0 client on bare sockets.

`http.client` and `urllib` pull in `email`, half a second of imports on the slowest machines that we install. HTTP/1.0
is enough: one request a connection, and no server may answer it with a chunked body (RFC 9112 §7.1).
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD_LIMIT = 65_536


class WireError(OSError):
    """The exchange broke: no connection, a reply that is none, or a body that ended early."""


class Response:
    """A reply whose body is still to be read."""

    __slots__ = ("_left", "_rest", "_sock", "headers", "status")

    def __init__(self, sock: socket.socket, status: int, headers: Mapping[str, str], rest: bytes) -> None:
        self._sock, self.status, self.headers, self._rest = sock, status, headers, rest
        length = headers.get("content-length")
        self._left = int(length) if length is not None else None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the body goes; the count is short only at its end. WireError: it ended early."""
        filled = 0
        while filled < len(buffer) and self._left != 0:
            filled += self.read_some(buffer[filled:])
            if self._left is None and not self._rest and filled == 0:
                break
        return filled

    def read_some(self, room: memoryview) -> int:
        """Read what is there, at least one byte, into `room`; 0 at the body's end. Raises WireError."""
        if self._left is not None:
            room = room[: self._left]
        if self._rest:
            count = min(len(room), len(self._rest))
            room[:count] = self._rest[:count]
            self._rest = self._rest[count:]
        else:
            try:
                count = self._sock.recv_into(room)
            except OSError as err:
                raise WireError(f"while reading the body: {err}") from err
            if count == 0:
                if self._left:
                    raise WireError(f"the body ended {self._left} bytes early")
                self._left = 0
        if self._left:
            self._left -= count
        return count

    def body(self) -> bytes:
        """The whole body."""
        chunks = []
        buffer = memoryview(bytearray(65_536))
        while count := self.readinto(buffer):
            chunks.append(bytes(buffer[:count]))
        return b"".join(chunks)

    def abort(self) -> None:
        """Make a thread that reads the body stop waiting: it gets a WireError."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # there is nobody any more

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def split(url: str) -> tuple[str, int, str]:
    """`http://host:port/path?query` as host, port and request target; IPv6 hosts stand in brackets.

    Raises ValueError for anything but plain HTTP.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "http":
        raise ValueError(f"not an http:// URL: {url}")
    authority, slash, path = rest.partition("/")
    if authority.startswith("["):
        host, _, tail = authority[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise ValueError(f"no host in {url}")
    return host, int(port or 80), slash + path if slash else "/"


def request(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", timeout_s: float = 30
) -> Response:
    """Send one request and read the head of the reply.

    `timeout_s` bounds each wait for the peer, not the whole exchange. Raises WireError when there is no reply.
    """
    host, port, target = split(url)
    name = f"[{host}]" if ":" in host else host
    lines = [f"{method} {target} HTTP/1.0", f"Host: {name}:{port}"]
    lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    try:
        # As bytes, which typeshed forbids: a str would import the IDNA codec and its tables.
        sock = socket.create_connection((host.encode(), port), timeout_s)  # type: ignore[arg-type]
    except OSError as err:
        raise WireError(f"{host}:{port}: {err}") from err
    try:
        sock.sendall(head + body)
        return _read_head(sock)
    except OSError as err:
        sock.close()
        raise WireError(f"{method} {target}: {err}") from err
    except BaseException:
        sock.close()
        raise


def _read_head(sock: socket.socket) -> Response:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = sock.recv(65_536)
        if not more:
            raise WireError("the reply ended in its head")
        data += more
        if len(data) > _HEAD_LIMIT:
            raise WireError("the reply's head is too long")
    first, *fields = data[:end].decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise WireError(f"not an HTTP reply: {first[:80]!r}")
    headers = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Response(sock, int(words[1]), headers, data[end + 4 :])

"""NETCONF over SSH's two framings: end-of-message for 1.0 and chunks for 1.1 (RFC 6242 §4). Pure."""

from __future__ import annotations

import re

END = b"]]>]]>"
_HEADER = re.compile(rb"\n#(?:([1-9][0-9]{0,9})|#)\n")
_MOST = 64 << 20


class BadFrame(ValueError):
    """The peer's framing is broken; RFC 6242 §4.2 has the session end."""


class Framing:
    """Collects bytes and gives out whole messages. It begins with 1.0's framing, which carries the hellos."""

    def __init__(self) -> None:
        self.chunked = False
        self._buffer = b""
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data
        if len(self._buffer) + sum(map(len, self._chunks)) > _MOST:
            raise BadFrame("the message is too long")

    def next_message(self) -> bytes | None:
        """The next whole message, or None until more has arrived. Raises BadFrame."""
        return self._next_chunked() if self.chunked else self._next_ended()

    def _next_ended(self) -> bytes | None:
        message, end, rest = self._buffer.partition(END)
        if not end:
            return None
        self._buffer = rest
        return message.strip()

    def _next_chunked(self) -> bytes | None:
        while True:
            header = _HEADER.match(self._buffer)
            if header is None:
                if len(self._buffer) >= 13 or not b"\n#".startswith(self._buffer[:2]):
                    raise BadFrame(f"no chunk header: {self._buffer[:16]!r}")
                return None
            if header[1] is None:
                self._buffer = self._buffer[header.end() :]
                message, self._chunks = b"".join(self._chunks), []
                return message
            size = int(header[1])
            if len(self._buffer) < header.end() + size:
                return None
            self._chunks.append(self._buffer[header.end() : header.end() + size])
            self._buffer = self._buffer[header.end() + size :]


def framed(message: bytes, *, chunked: bool) -> bytes:
    """The message as it goes over the wire."""
    return b"\n#%d\n%s\n##\n" % (len(message), message) if chunked else message + END

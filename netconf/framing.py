"""NETCONF's two framings over SSH: end marks for 1.0, chunks for 1.1 (RFC 6242 §4). Pure.

Bytes stay bytes until a message is whole: a chunk, or what one read finds, may end inside a character.
"""

from __future__ import annotations

import re

END = b"]]>]]>"
_HEADER = re.compile(rb"\n#(?:([1-9][0-9]{0,9})|#)\n")
_HEADER_BYTES = 13  # of the longest one
_MOST = 64 << 20


class BadFrame(ValueError):
    """The peer's framing is broken; RFC 6242 §4.2 has the session end."""


class Framing:
    """Collects bytes and gives out whole messages. It begins with 1.0's framing, which carries the hellos."""

    def __init__(self) -> None:
        self.chunked = False
        self._buffer = bytearray()
        self._message = bytearray()  # those chunks that are whole
        self._searched = 0  # so much of the buffer has no end mark in it

    def feed(self, data: bytes) -> None:
        """Take what has arrived. Raises BadFrame when a message becomes longer than any that makes sense."""
        self._buffer += data
        if len(self._buffer) + len(self._message) > _MOST:
            raise BadFrame("the message is too long")

    def next_message(self) -> bytes | None:
        """The next whole message, or None until more has arrived. Raises BadFrame."""
        return self._next_chunked() if self.chunked else self._next_ended()

    def _next_ended(self) -> bytes | None:
        end = self._buffer.find(END, self._searched)
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(END))
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(END)]
        self._searched = 0
        return message.strip()

    def _next_chunked(self) -> bytes | None:
        at = 0
        try:
            while (header := _HEADER.match(self._buffer, at)) is not None:
                if header[1] is None:
                    at = header.end()
                    message, self._message = bytes(self._message), bytearray()
                    return message
                if int(header[1]) > _MOST:
                    raise BadFrame("a chunk is too long")
                end = header.end() + int(header[1])
                if len(self._buffer) < end:
                    return None
                self._message += self._buffer[header.end() : end]
                at = end
            left = len(self._buffer) - at
            if left >= _HEADER_BYTES or not b"\n#".startswith(self._buffer[at : at + 2]):
                raise BadFrame("there is no chunk where one must be")
            return None
        finally:
            del header  # a match keeps its buffer as long as it is
            del self._buffer[:at]


def framed(message: bytes, *, chunked: bool) -> bytes:
    """The message as it goes over the wire."""
    return b"\n#%d\n%s\n##\n" % (len(message), message) if chunked else message + END

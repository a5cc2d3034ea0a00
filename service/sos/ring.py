"""The last bytes of a console, each with its place since the beginning. Pure."""

from __future__ import annotations

SIZE = 64 << 10  # bytes that are kept


class Ring:
    """What was printed last. Places count every byte that ever came."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._kept = bytearray()
        self._end = 0

    @property
    def end(self) -> int:
        """The place of the next byte."""
        return self._end

    @property
    def start(self) -> int:
        """The place of the oldest byte that is kept."""
        return self._end - len(self._kept)

    def append(self, data: bytes) -> None:
        """More was printed; the oldest makes room."""
        self._kept += data[-self._size :]
        self._end += len(data)
        del self._kept[: max(0, len(self._kept) - self._size)]

    def read(self, place: int, limit: int) -> tuple[int, bytes]:
        """How many bytes from `place` on are no longer there, and at most `limit` of those that follow them."""
        lost = max(0, self.start - place)
        first = place + lost - self.start
        return lost, bytes(self._kept[first : first + limit])

"""Getting an image over HTTP: the map whole, chunks by ranges, each compared with its sha256 before anybody sees it."""

from __future__ import annotations

import hashlib
import threading

from images import chunks
from images.agent import wire
from images.agent.errors import ImageRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from images.chunks import Chunk, Map
    from images.protocol import Image

_TRIES = 8  # in a row without a byte: some 40 s of back-off
_HASH_TRIES = 2  # a bit may flip on the way once
_TIMEOUT_S = 10  # without a byte
_SHOWN = 200  # characters of a reason


def fetch_map(image: Image) -> Map:
    """The image's map, whose sha256 the work tells. Raises ImageRefused."""
    url, wanted = image["map_url"], image["map_sha256"]
    line = Line(url)
    for attempt in range(_HASH_TRIES):
        text = line.whole(chunks.MAX_MAP_BYTES)
        if (digest := hashlib.sha256(text).hexdigest()) == wanted:
            break
        if attempt + 1 == _HASH_TRIES:
            raise ImageRefused(f"the map {url} has the sha256 {digest}, expected {wanted}")
    try:
        map_ = chunks.decode(text)
    except chunks.BadMap as err:
        raise ImageRefused(f"the map {url}: {err}") from err
    for what, found, told in (("disk", map_.disk_bytes, "disk_bytes"), ("data", map_.data_bytes, "bytes")):
        if found != image[told]:  # type: ignore[literal-required]
            raise ImageRefused(f"the map {url} tells of {found} bytes of {what}, the work of {image[told]}")  # type: ignore[literal-required]
    return map_


class Line:
    """Requests for one URL, one after another, that are tried again until it is hopeless."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._response: wire.Response | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """From another thread: end what is under way by a WireError."""
        self._stopped.set()
        if (response := self._response) is not None:
            response.abort()

    def whole(self, limit: int) -> bytes:
        """The whole of a file of at most `limit` bytes. Raises ImageRefused."""
        failures = 0
        while True:
            try:
                with wire.request("GET", self._url, timeout_s=_TIMEOUT_S) as response:
                    if response.status != 200:
                        raise self._refusal(response.status)
                    if int(response.headers.get("content-length") or 0) > limit:
                        raise ImageRefused(f"{self._url} has more than {limit} bytes")
                    return response.body()
            except wire.WireError as err:
                failures += 1
                self._wait(failures, err)

    def frames(self, wanted: Sequence[Chunk], total: int, buffer: memoryview) -> Iterator[Chunk]:
        """Fetch the frames of chunks that follow each other in a data file of `total` bytes.

        Yields each chunk when its frame stands at the beginning of `buffer` and has the right sha256; the buffer is
        used again for the next. Where a connection breaks the next one goes on. Raises ImageRefused, and WireError
        after `stop`.
        """
        end = wanted[-1].position + wanted[-1].frame_bytes
        try:
            for chunk in wanted:
                for attempt in range(1, _HASH_TRIES + 1):
                    self._read(chunk.position, end, total, buffer[: chunk.frame_bytes])
                    digest = hashlib.sha256(buffer[: chunk.frame_bytes]).hexdigest()
                    if digest == chunk.sha256:
                        break
                    self._hang_up()
                    if attempt == _HASH_TRIES:
                        place = f"byte {chunk.offset} of the disk, at {chunk.position} of {self._url}"
                        raise ImageRefused(f"the chunk for {place}: sha256 is {digest}, expected {chunk.sha256}")
                yield chunk
        finally:
            self._hang_up()

    def _read(self, position: int, end: int, total: int, room: memoryview) -> None:
        """Fill `room` from `position` of the file on; a new request goes up to `end`."""
        failures = filled = 0
        while filled < len(room):
            try:
                if self._response is None:
                    self._response = self._ask(position + filled, end, total)
                if (count := self._response.read_some(room[filled:])) == 0:
                    raise wire.WireError(f"the reply ended at {position + filled}, before {end}")
                filled += count
                failures = 0
            except wire.WireError as err:
                self._hang_up()
                failures += 1
                self._wait(failures, err)

    def _ask(self, start: int, end: int, total: int) -> wire.Response:
        asked = {"Range": f"bytes={start}-{end - 1}"}
        response = wire.request("GET", self._url, headers=asked, timeout_s=_TIMEOUT_S)
        said = response.headers.get("content-range", "")
        if response.status == 206 and said == f"bytes {start}-{end - 1}/{total}":
            return response
        response.close()
        if response.status == 206:
            raise ImageRefused(f"{self._url}: asked for bytes {start}-{end - 1}/{total}, the answer has {said!r}")
        if response.status == 200:
            raise ImageRefused(f"{self._url}: the server does not know ranges")
        raise self._refusal(response.status)

    def _refusal(self, status: int) -> Exception:
        """What a status means that is none of success: it may pass, or nothing will change it (RFC 9110 §15.5)."""
        if 400 <= status < 500 and status not in (408, 429):
            return ImageRefused(f"{self._url}: the server answered {status}")
        return wire.WireError(f"the server answered {status}")

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _wait(self, failures: int, err: wire.WireError) -> None:
        """Wait before the next try. Raises ImageRefused after the last one, and WireError when stopped."""
        if failures >= _TRIES:
            raise ImageRefused(f"cannot fetch {self._url}: {str(err)[:_SHOWN]}") from err
        if self._stopped.wait(min(0.2 * 2**failures, 15)):
            raise err

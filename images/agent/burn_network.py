"""Network: something large is fetched and sent again and again, and what the cards and TCP count meanwhile is told."""

from __future__ import annotations

import glob
import time

from images.agent import wire
from images.agent.blockdev import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 1 << 20
_SENT = 32 << 20
_COUNTERS = ("rx_errors", "tx_errors", "rx_crc_errors", "rx_frame_errors", "tx_carrier_errors")


def burn(seconds: float, download_url: str, upload_url: str, tell: Callable[[int], None]) -> dict[str, float]:
    """Fetch for half of the time and send for the other. Raises what `tell` raises.

    `errors` counts exchanges that broke, `retransmitted` TCP segments, `link_errors` frames.
    """
    segments, frames = retransmitted(), link_errors()
    fetched, down, down_errors = _repeat(seconds / 2, lambda until: _fetch(download_url, until), tell)
    _, up, up_errors = _repeat(seconds / 2, lambda until: _send(upload_url), lambda count: tell(fetched + count))
    return {
        "download_bytes_per_s": round(down),
        "upload_bytes_per_s": round(up),
        "errors": down_errors + up_errors,
        "retransmitted": retransmitted() - segments,
        "link_errors": link_errors() - frames,
    }


def _repeat(seconds: float, exchange: Callable[[float], int], tell: Callable[[int], None]) -> tuple[int, float, int]:
    """Bytes, bytes a second, and how many exchanges broke."""
    begun, count, errors = time.monotonic(), 0, 0
    until = begun + seconds
    while count + errors == 0 or time.monotonic() < until:
        try:
            count += exchange(until)
        except wire.WireError as err:
            errors += 1
            print(f"roundhouse: burn-in network: {err}", flush=True)
            time.sleep(1)
        tell(count)
    return count, count / (time.monotonic() - begun), errors


def _fetch(url: str, until: float) -> int:
    count = 0
    piece = memoryview(bytearray(_PIECE))
    with wire.request("GET", url) as response:
        if response.status != 200:
            raise wire.WireError(f"{url}: the server answered {response.status}")
        # At least one piece, however late the answer came: the caller asks again until there is something to measure.
        while got := response.readinto(piece):
            count += got
            if time.monotonic() >= until:
                break
    if count == 0:
        raise wire.WireError(f"{url}: the server sent nothing")
    return count


def _send(url: str) -> int:
    with wire.request("POST", url, body=bytes(_SENT)) as response:
        response.body()
        if response.status != 200:
            raise wire.WireError(f"{url}: the server answered {response.status}")
    return _SENT


def retransmitted(root: str = "") -> int:
    """TCP segments that were sent again since the start."""
    lines = [line.split() for line in read_text(f"{root}/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    if len(lines) != 2 or "RetransSegs" not in lines[0]:
        return 0
    return int(lines[1][lines[0].index("RetransSegs")])


def link_errors(root: str = "") -> int:
    """Frames that the cards have counted as broken."""
    folders = glob.glob(f"{root}/sys/class/net/*/device")
    counts = (
        read_text(f"{folder.removesuffix('/device')}/statistics/{name}") for folder in folders for name in _COUNTERS
    )
    return sum(int(count) for count in counts if count.isdigit())

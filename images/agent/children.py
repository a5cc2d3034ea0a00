"""Work spread over processes: one for each processor, or for each disk. Each tells what it found as JSON."""

from __future__ import annotations

import json
import os
import select
import time

from images.agent.errors import WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_LATE_S = 120.0


def run(
    jobs: Sequence[Callable[[Callable[[int], None]], Any]], seconds: float, tell: Callable[[int], None]
) -> list[Any]:
    """Run each job in a process of its own and return their results in order.

    A job is given a function that takes the bytes it has done so far; their sum goes to `tell`, once a second. Raises
    WorkFailed for a job that dies or is two minutes late, and whatever `tell` raises: then all are ended.
    """
    pids: dict[int, int] = {}
    parts: list[bytes] = [b"" for _ in jobs]
    done = [0 for _ in jobs]
    try:
        for job in jobs:
            fd, theirs = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(fd)
                _child(job, theirs)
            os.close(theirs)
            pids[fd] = pid
        places = {fd: place for place, fd in enumerate(pids)}
        until, told = time.monotonic() + seconds + _LATE_S, 0.0
        while places:
            if time.monotonic() > until:
                raise WorkFailed("burn-in", f"a process did not end within {seconds + _LATE_S:.0f} s")
            for fd in select.select(list(places), [], [], 0.5)[0]:
                data = os.read(fd, 65_536)
                if not data:
                    del places[fd]
                    continue
                place = places[fd]
                *lines, rest = (parts[place] + data).split(b"\n")
                counts = [line for line in lines if line.isdigit()]
                done[place] = int(counts[-1]) if counts else done[place]
                whole = [line for line in lines if not line.isdigit()]
                parts[place] = b"".join(line + b"\n" for line in whole) + rest
            if time.monotonic() - told > 1:
                told = time.monotonic()
                tell(sum(done))
    except BaseException:
        for pid in pids.values():
            os.kill(pid, 9)
        raise
    finally:
        for fd, pid in pids.items():
            os.close(fd)
            os.waitpid(pid, 0)
    return [_result(part) for part in parts]


def _child(job: Callable[[Callable[[int], None]], Any], fd: int) -> None:
    code = 1
    try:
        found = job(lambda count: _write(fd, b"%d\n" % count))
        _write(fd, json.dumps({"found": found}).encode() + b"\n")
        code = 0
    except BaseException as err:
        _write(fd, json.dumps({"error": str(err) or type(err).__name__}).encode() + b"\n")
    finally:
        os._exit(code)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _result(said: bytes) -> Any:
    told = json.loads(said) if said.strip() else {"error": "it died"}
    if "error" in told:
        raise WorkFailed("burn-in", f"a process failed: {told['error']}")
    return told["found"]

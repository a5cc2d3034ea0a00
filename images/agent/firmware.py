"""An operator's firmware bundle: fetched by hash, unpacked, and its program run with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time

from images.agent import toolbox
from images.agent.errors import WorkFailed
from images.agent.shell import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from images.protocol import FirmwareResult, FirmwareSpec

    Report = Callable[..., None]

FOLDER = "/tmp/firmware"  # noqa: S108 - nobody else is in the RAM root
_STAGE = "firmware"
_KEPT = 4000
_MOST = 1 << 20
_TELL_S = 5


def run_bundle(spec: FirmwareSpec, report: Report, folder: str = FOLDER) -> FirmwareResult:
    """Run it in a folder of its own, which goes away afterwards.

    Raises WorkFailed where the bundle or its program is not what it should be, the program ends with another exit code
    than 0 or takes too long, and what `report` raises.
    """
    report(_STAGE, 0, 0)
    try:
        packed = toolbox.fetch(spec["url"], spec["sha256"])
    except toolbox.Gone as err:
        raise WorkFailed(_STAGE, f"there is no bundle at {err}") from None
    run(["rm", "-rf", folder])  # of a run that was broken off
    os.makedirs(folder, mode=0o700)
    try:
        unpack(packed, folder)
        program = os.path.realpath(f"{folder}/{spec['program']}")
        if not program.startswith(f"{os.path.realpath(folder)}/") or not os.access(program, os.X_OK):
            raise WorkFailed(_STAGE, f"the bundle has no program {spec['program']}")
        return _run(program, spec, folder, report)
    finally:
        run(["rm", "-rf", folder])


def unpack(packed: bytearray, folder: str) -> None:
    """Unpack a tar archive, plain or by gzip. Raises WorkFailed."""
    command = ["tar", "-x", "-z"] if packed[:2] == b"\x1f\x8b" else ["tar", "-x"]
    busybox = "/bin/busybox"
    done = subprocess.run(
        [busybox, *command] if os.path.exists(busybox) else command,
        cwd=folder,
        input=packed,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise WorkFailed(_STAGE, f"cannot unpack the bundle: {done.stderr.decode(errors='replace')[-300:]}")


def _run(program: str, spec: FirmwareSpec, folder: str, report: Report) -> FirmwareResult:
    begun = time.monotonic()
    with open(f"{folder}/.output", "w+b") as said:
        # In a session of its own, so that what it has started ends with it.
        with subprocess.Popen(
            [program, *spec["arguments"]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                while process.poll() is None:
                    took = time.monotonic() - begun
                    if took > spec["limit_s"]:
                        raise WorkFailed(_STAGE, f"{spec['program']} took longer than {spec['limit_s']} s")
                    report(_STAGE, 0, 0, percent=round(100 * took / spec["limit_s"], 1))
                    time.sleep(min(_TELL_S, max(0.05, took)))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
        said.seek(max(0, said.tell() - _MOST))
        output = said.read().decode(errors="replace")
    if process.returncode != 0:
        end = output.strip()[-500:]
        raise WorkFailed(_STAGE, f"{spec['program']} ended with exit code {process.returncode}: {end}")
    return {
        "exit_code": process.returncode,
        "seconds": round(time.monotonic() - begun, 2),
        "told": last_object(output),
        "output": output[-_KEPT:],
    }


def last_object(output: str) -> dict[str, Any]:
    """The JSON object on the last line that is one; empty where there is none."""
    for line in reversed(output.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    return {}

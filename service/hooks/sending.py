"""One try to tell a hook something: an HTTP POST, or a program that is run. What came of it is an `Answer`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import aiohttp

_LARGEST_ANSWER = 4096  # bytes that are read and kept of an answer
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BadProgram(ValueError):
    """The program may not be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hook answered. `status` is HTTP's, or a program's exit status; None without an answer."""

    status: int | None
    text: str  # the body, or what the program wrote; without an answer what went wrong
    took_s: float


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], *, limit_s: float
) -> Answer:
    """POST the body; redirects are not followed, since a signed delivery is for the URL that was registered."""
    began = monotonic()
    sent = {"Content-Type": "application/json", "User-Agent": "roundhouse-hooks", **headers}
    try:
        async with (
            asyncio.timeout(limit_s),
            session.post(url, data=body, headers=sent, allow_redirects=False) as response,
        ):
            kept = bytearray()
            while len(kept) < _LARGEST_ANSWER and (part := await response.content.read(_LARGEST_ANSWER)):
                kept += part[: _LARGEST_ANSWER - len(kept)]
            return Answer(response.status, _readable(bytes(kept)), monotonic() - began)
    except TimeoutError:
        return Answer(None, f"no answer within {limit_s:g} s", monotonic() - began)
    except (aiohttp.ClientError, OSError, ValueError) as err:
        return Answer(None, f"{type(err).__name__}: {err}"[:_LARGEST_ANSWER], monotonic() - began)


def program_in(folder: str, path: str) -> Path:
    """The program, if it lies in the folder that the settings name. Raises BadProgram."""
    if not folder:
        raise BadProgram("no program may be run: the setting hooks_dir is empty")
    inside = Path(folder).resolve()
    if not Path(path).is_absolute():
        raise BadProgram(f"it must be an absolute path in {inside}")
    found = Path(path).resolve()
    if not found.is_relative_to(inside) or found == inside:
        raise BadProgram(f"it must be a program in {inside}")
    if not found.is_file() or not os.access(found, os.X_OK):
        raise BadProgram(f"{found} is no file that can be executed")
    return found


async def execute(program: Path, body: bytes, *, limit_s: float) -> Answer:
    """Run the program with the body on standard input, without a shell and in a process group of its own, which is
    killed when the time is over or the caller is cancelled. What it writes is kept up to a limit; the rest is read.

    It is done when it has ended and nobody can write to its output any more.
    """
    began = monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(program),),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd=program.parent,
            env={"PATH": _PATH, "LANG": "C.UTF-8"},
        )
    except OSError as err:
        return Answer(None, f"{program}: {err.strerror or err}", monotonic() - began)
    kept = bytearray()
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.gather(_feed(process, body), _read(process, kept))
            status = await process.wait()
    except BaseException as err:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if not isinstance(err, TimeoutError):
            raise
        text = _readable(bytes(kept))
        return Answer(None, f"not done within {limit_s:g} s{': ' if text else ''}{text}", monotonic() - began)
    return Answer(status, _readable(bytes(kept)), monotonic() - began)


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # a program need not read
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process, kept: bytearray) -> None:
    assert process.stdout is not None
    while part := await process.stdout.read(65536):
        kept += part[: _LARGEST_ANSWER - len(kept)]


def _readable(text: bytes) -> str:
    """What the database can keep of it."""
    return text.decode(errors="replace").replace("\0", "�").strip()

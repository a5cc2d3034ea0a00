"""Programs and kernel modules that only some work needs: fetched when they are first wanted, and checked.

The boot script names the archive beside the initramfs that it belongs to (`roundhouse.toolbox=`), so the two always fit
together, whatever has been published since.
"""

from __future__ import annotations

import os
import threading

from images.agent import wire
from images.agent.errors import SessionEnded, WorkFailed

_FOLDERS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin")
_TRIES = 8
_MOST = 256 << 20
_STAGE = "toolbox"


class Gone(Exception):
    """There is no such archive any more."""


_lock = threading.Lock()
_where = {"url": "", "sha256": "", "unpacked": ""}


def offered(url: str, sha256: str) -> None:
    """Note where this installer's archive is; both empty where it has none."""
    _where.update(url=url, sha256=sha256, unpacked="")


def need(*programs: str) -> None:
    """Have these programs in the search path, and the archive's kernel modules for modprobe; at once where they are.

    Without a name it is the kernel modules that are needed.

    Raises WorkFailed where they cannot be had, SessionEnded where this installer's archive is no longer published.
    """
    with _lock:
        if programs and all(map(_found, programs)):
            return
        if not _where["sha256"]:
            wanted = ", ".join(name for name in programs if not _found(name)) or "more kernel modules"
            raise WorkFailed(_STAGE, f"this installer was booted without a toolbox, which would have {wanted}")
        if not _where["unpacked"]:
            try:
                unpack(fetch(_where["url"], _where["sha256"]), "/")
            except Gone:
                raise SessionEnded("this installer's toolbox is no longer published: a newer installer is") from None
            _where["unpacked"] = "yes"
        if missing := [name for name in programs if not _found(name)]:
            raise WorkFailed(_STAGE, f"the toolbox has no {', '.join(missing)}")


def _found(program: str) -> bool:
    return any(os.path.exists(f"{folder}/{program}") for folder in _FOLDERS)


def fetch(url: str, sha256: str) -> bytearray:
    """Download an archive into memory and compare its hash. Raises WorkFailed, Gone."""
    import time

    reason = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(min(0.2 * 2**attempt, 15))
        try:
            return _fetch_once(url, sha256)
        except wire.WireError as err:
            reason = str(err)
            print(f"roundhouse: toolbox: {reason}", flush=True)
    raise WorkFailed(_STAGE, f"cannot fetch {url}: {reason}")


def _fetch_once(url: str, sha256: str) -> bytearray:
    import hashlib

    with wire.request("GET", url) as response:
        if response.status == 404:
            raise Gone(url)
        if response.status != 200:
            raise wire.WireError(f"the server answered {response.status}")
        packed = bytearray()
        piece = memoryview(bytearray(1 << 20))
        while count := response.readinto(piece):
            packed += piece[:count]
            if len(packed) > _MOST:
                raise wire.WireError(f"more than {_MOST} bytes")
    digest = hashlib.sha256(packed).hexdigest()
    if digest != sha256:
        raise wire.WireError(f"sha256 is {digest}, expected {sha256}")
    return packed


def unpack(packed: bytearray, target: str) -> None:
    """Unpack a zstd-compressed cpio archive below `target`, over what is there. Raises WorkFailed."""
    import subprocess

    from images.agent import blockdev, zstd

    command = ["cpio", "-i", "-d", "-m", "-u"]
    busybox = "/bin/busybox"
    with subprocess.Popen(
        [busybox, *command] if os.path.exists(busybox) else command,
        cwd=target,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as cpio:
        decoder, block = zstd.Decoder(), blockdev.Buffer(1 << 20)
        try:
            decoder.feed(packed, len(packed))
            while filled := decoder.fill(block.address, len(block.view), 0):
                cpio.stdin.write(block.view[:filled])  # type: ignore[union-attr]
            decoder.finish()
        except (zstd.CorruptStream, BrokenPipeError) as err:
            raise WorkFailed(_STAGE, f"cannot unpack the toolbox: {err}") from err
        finally:
            decoder.close()
            said = cpio.communicate()[1]
    if cpio.returncode != 0:
        raise WorkFailed(_STAGE, f"cpio: exit code {cpio.returncode}: {said.decode(errors='replace')[-300:]}")

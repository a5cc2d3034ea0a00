"""A network of our own for the virtual rack: a private namespace with taps, gone with the process that made it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

import structlog

from service.lab.parts import LeafPort

log = structlog.get_logger()

_CLONE_NEWNET = 0x40000000  # linux/sched.h

Interface = IPv4Interface | IPv6Interface


class NetworkError(Exception):
    """The namespace or something in it could not be set up."""


def enter_private_namespace() -> None:
    """Move this process into a new network namespace, with `lo` up and forwarding on.

    To be called before the first thread and the event loop: a namespace belongs to a thread, and only threads started
    later inherit it. Sockets that are open already stay where they were opened, which is how a service inside is
    reached from outside. Raises NetworkError without the privilege (CAP_SYS_ADMIN).
    """
    if threading.active_count() > 1:
        raise NetworkError("a private namespace must be entered before any thread is started")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise NetworkError(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    ip("link", "set", "lo", "up")
    # Files of /proc/self/net show the namespace of the thread that opens them, and this is the only thread.
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as switch:  # noqa: PTH123
            switch.write("1")


def ip(*words: str) -> None:
    """Run ip(8). Raises NetworkError with its complaint."""
    _finish(words, subprocess.run(["ip", *words], capture_output=True, text=True, check=False))


def _finish(words: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise NetworkError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def create_tap(name: str) -> None:
    """Make the tap device that a machine's network card is plugged into, up and without addresses.

    It stands for the leaf's port, so it sends nothing of its own accord: no router solicitations, no link-local
    address until a link is configured. Raises NetworkError, also for a name of more than 15 characters.
    """
    if len(name) > 15:
        raise NetworkError(f"{name!r} is longer than the 15 characters that Linux allows")
    ip("tuntap", "add", "dev", name, "mode", "tap")
    ip("link", "set", "dev", name, "addrgenmode", "none")
    ip("link", "set", "dev", name, "up")


def add_service_address(address: Interface) -> None:
    """Give the namespace an address that the services inside can be bound to and every machine can reach."""
    ip("address", "replace", str(address), "dev", "lo")


class DataPlane:
    """What the leaf's forwarding hardware would do on one port: the tap has the leaf's addresses of the running links.

    Addresses follow the port's running configuration until `close`.
    """

    def __init__(self, port: LeafPort, tap: str) -> None:
        self._port, self._tap = port, tap
        self._applied: set[Interface] = set()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        port.watch(self._changed_elsewhere)
        self._note()
        self._task = asyncio.create_task(self._follow(), name=f"data-plane-{tap}")

    def _changed_elsewhere(self) -> None:
        # A leaf may tell it from a thread of its own, and after the rack was closed.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note)

    def _note(self) -> None:
        self._settled.clear()
        self._changed.set()

    async def settled(self) -> None:
        """Wait until the tap is as the running configuration says."""
        await self._settled.wait()

    async def close(self) -> None:
        """Stop following; the addresses stay until the tap goes."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = {link.leaf for link in self._port.links}
            try:
                await self._apply(wanted)
            except NetworkError as err:
                log.warning("data_plane_failed", tap=self._tap, port=self._port.name, error=str(err))
            if not self._changed.is_set():
                self._settled.set()

    async def _apply(self, wanted: set[Interface]) -> None:
        gone, new = self._applied - wanted, wanted - self._applied
        lines = [f"address delete {address} dev {self._tap}" for address in sorted(gone, key=str)]
        for address in sorted(new, key=str):
            nodad = " nodad" if address.version == 6 else ""  # a /127 link has no third party to collide with
            lines.append(f"address replace {address} dev {self._tap}{nodad}")
        if lines:
            await _ip_batch(lines)
            self._applied = wanted
            log.debug("data_plane_changed", tap=self._tap, port=self._port.name, added=len(new), removed=len(gone))


async def _ip_batch(lines: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("ip", "-force", "-batch", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate("\n".join(lines).encode() + b"\n")
    if process.returncode != 0:
        raise NetworkError(f"ip -batch: {complaint.decode(errors='replace').strip()}")

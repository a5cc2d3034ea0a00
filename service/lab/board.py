"""What every stage of a light machine's life shares: its card, disks, clock, and the faults put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any, Literal

import structlog
from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector

from images.protocol import Handover, InstallSpec
from pxe.decide import Arch
from service.clock import Clock
from service.lab.console import SerialLine
from service.lab.parts import Nic

log = structlog.get_logger()

Stage = Literal[
    "off",
    "post",
    "dhcp",
    "first-stage",
    "ipxe",
    "kernel",
    "agent",
    "install",
    "erase",
    "handover",
    "system",
    "foreign",
    "burn-in",
    "rescue",
    "firmware",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LightSettings:
    """Ports of the rack's services, and how slow a light machine is. Without delays it is as fast as its peers."""

    dhcp_port: int = 67
    relay_port: int = 67
    tftp_port: int = 69
    ssh_port: int = 22
    arch: Arch = Arch.BIOS
    post_s: float = 0.0  # firmware's self-test, at every power-on and reboot
    kernel_s: float = 0.0  # from the installer's kernel to its agent
    system_s: float = 0.0  # from the installed system's kernel to its network
    disk_bytes_per_s: float | None = None  # None: the disk keeps up with the network
    erase_s: float = 0.0  # for each disk
    dhcp_tries: int = 6  # then firmware gives the network up and tries the next boot source
    failures_to_reboot: int = 20  # calls in a row that failed, before the agent boots from the network again


@dataclass(slots=True)
class Installed:
    """A system on a disk."""

    spec: InstallSpec
    host_key: str  # private, OpenSSH form
    host_key_public: str


@dataclass(slots=True)
class VirtualDisk:
    """A disk; its content outlives power cuts. `installed` is None for an empty disk and a half-written one."""

    path: str = "/dev/vda"
    serial: str = "LIGHT0000"
    bytes: int = 480 * 10**9
    installed: Installed | None = None


class NoCarrier(OSError):
    """The card has no link, or the leaf's port does not carry the address."""


class NoBoot(Exception):
    """This boot source leads nowhere: firmware goes on to the next."""


class Faults:
    """What is wrong with the machine. Plain attributes, to be set at any moment; a wrong cable is another `nic`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._dead_nic = False
        self.hang_at: Stage | None = None  # stop for good on entering this stage, until the power is cut
        self.lose_dhcp = 0.0  # the share of DHCP messages lost, either way
        self.never_phones_home = False
        self.dirty_disk = ""  # what an erase fails with; empty: it does not
        self.dead_ways: set[Handover | Literal["disk"]] = set()  # ways into the installed system that end nowhere
        self.memory_errors = 0  # MiB that lose what is written, as a burn-in finds them
        self.hears: tuple[str, str] | None = None  # leaf and port that it hears by LLDP; None: those of its cable
        self.mute_images: set[str] = set()  # hashes of images whose systems never phone home
        self.strange_images: set[str] = set()  # and of those whose systems show a host key of their own making

    @property
    def dead_nic(self) -> bool:
        """True: nothing goes out or comes in."""
        return self._dead_nic

    @dead_nic.setter
    def dead_nic(self, dead: bool) -> None:
        self._dead_nic = dead
        self._board.poke()


class Board:
    """The machine as its firmware, its agent and its system find it."""

    def __init__(
        self, name: str, nic: Nic, settings: LightSettings, clock: Clock, random: Random, disks: list[VirtualDisk]
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.random = random
        self.disks = disks
        self.stage: Stage = "off"
        self.console = SerialLine()
        self.faults = Faults(self)
        self._version = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._nic = nic
        nic.port.watch(self.poke)

    @property
    def nic(self) -> Nic:
        """The card and where its cable ends."""
        return self._nic

    @nic.setter
    def nic(self, nic: Nic) -> None:
        self._nic = nic
        nic.port.watch(self.poke)
        self.poke()

    async def enter(self, stage: Stage) -> None:
        """Go on to `stage`; never returns where the machine is to hang there."""
        self.stage = stage
        self.console.typed = None
        self.console.print(f"{self.name}: {stage}\r\n")
        log.debug("light_stage", machine=self.name, stage=stage)
        if self.faults.hang_at == stage:
            await asyncio.Event().wait()

    def carries(self, address: IPv4Address | IPv6Address) -> bool:
        """True while the leaf's port, as it runs, has the link that `address` is the host of."""
        return not self.faults.dead_nic and any(link.host.ip == address for link in self._nic.port.links)

    def poke(self) -> None:
        """Tell who waits in `newer_than` that the port, the cable or the card has changed; from any thread."""
        self._version += 1
        for waiter in list(self._waiters):
            loop = waiter.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)

    @property
    def version(self) -> int:
        """Rises with every change; read it before looking at the port, then wait for a newer one."""
        return self._version

    async def newer_than(self, version: int) -> None:
        """Return when something has changed since `version` was read."""
        while self._version == version:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def back_off_s(self, failures: int) -> float:
        """How long to wait after that many failures in a row: 0.2 s doubling to 5 s, with jitter."""
        return min(0.2 * 2.0 ** min(failures, 10), 5.0) * self.random.uniform(0.75, 1.25)

    def http(self, address: IPv4Address) -> Http:
        """HTTP from one of the machine's own addresses."""
        return Http(self, address)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Http:
    """A small HTTP client bound to one address of a machine; `async with` closes its connections."""

    def __init__(self, board: Board, address: IPv4Address) -> None:
        self._board = board
        self._address = address
        # One connection for the long poll and one beside it: thousands of machines share a process's descriptors.
        self._session = ClientSession(connector=TCPConnector(local_addr=(str(address), 0), limit=2))

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        timeout_s: float = 15,
    ) -> tuple[int, bytes]:
        """One exchange: status and body. Raises aiohttp.ClientError, TimeoutError, NoCarrier."""
        self._check()
        timeout = ClientTimeout(total=timeout_s)
        async with self._session.request(
            method, url, headers=headers, json=json, data=form, timeout=timeout
        ) as response:
            return response.status, await response.read()

    async def stream(self, url: str) -> ClientResponse:
        """A response to read piece by piece, to be closed by the caller. Raises as `call` does."""
        self._check()
        return await self._session.get(url, timeout=ClientTimeout(sock_connect=10, sock_read=30))

    async def load(self, url: str) -> int:
        """Fetch and forget, as for a kernel that nobody will execute: its size in bytes. Raises as `call` does."""
        async with await self.stream(url) as response:
            response.raise_for_status()
            return sum([len(piece) async for piece in response.content.iter_any()])

    def _check(self) -> None:
        if not self._board.carries(self._address):
            raise NoCarrier(f"{self._address} is on no link of this port")

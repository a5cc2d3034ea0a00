"""A light machine: no process, no kernel, no disk, but every protocol of a machine's life over real sockets.

Power on, firmware's DHCP through the leaf's relay, the first stage by TFTP, iPXE's DHCP and script, kernel and initrd
by HTTP, the installer's agent, the hand-over, metadata, phone-home and SSH. It is one asyncio task while it has power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from random import Random

import structlog

from images.agent.cmdline import parse
from service.clock import Clock, WallClock
from service.lab.board import Board, Faults, Installed, LightSettings, NoBoot, Stage, VirtualDisk
from service.lab.console import SerialLine
from service.lab.firmware import network_boot
from service.lab.ipxe_script import BootKernel, Foreign, LocalDisk, NextDevice, Reboot
from service.lab.light_agent import run_agent
from service.lab.light_system import run_system
from service.lab.parts import BootSource, Nic

log = structlog.get_logger()

_BOOT_ORDER = {"none": ("network", "disk"), "pxe": ("network", "disk"), "disk": ("disk", "network")}


class LightMachine:
    """One machine; a `service.lab.parts.PowerTarget`. What is on its disks outlives power cuts, nothing else does."""

    def __init__(
        self,
        name: str,
        nic: Nic,
        settings: LightSettings,
        *,
        disks: Sequence[VirtualDisk] = (),
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        """Without `disks` it has one of 480 GB, whose serial number is made of the name."""
        self.name = name
        self.disks = list(disks) or [VirtualDisk(serial=f"LIGHT-{name}")]
        self._board = Board(name, nic, settings, clock or WallClock(), random or Random(), self.disks)
        self._life: asyncio.Task[None] | None = None

    @property
    def mac(self) -> str:
        """The address of its card."""
        return self._board.nic.mac

    @property
    def powered(self) -> bool:
        """True while the machine is on."""
        return self._life is not None

    @property
    def console(self) -> SerialLine:
        """Its serial line: the stages of its life, and a login prompt when its system runs."""
        return self._board.console

    @property
    def stage(self) -> Stage:
        """Where it is in its life."""
        return self._board.stage

    @property
    def faults(self) -> Faults:
        """What is wrong with it."""
        return self._board.faults

    @property
    def nic(self) -> Nic:
        """Its card and cable; setting another one is moving the cable."""
        return self._board.nic

    @nic.setter
    def nic(self, nic: Nic) -> None:
        self._board.nic = nic

    async def power_on(self, boot: BootSource) -> None:
        """Start it; no effect while it is on."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(boot), name=f"light-{self.name}")

    async def power_off(self) -> None:
        """Cut the power: whatever it was doing ends here."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        self._board.stage = "off"
        self._board.console.typed = None

    async def _live(self, boot: BootSource) -> None:
        try:
            while True:
                await self._boot(boot)
                boot = "none"  # an override is good for one start
        except Exception:
            log.exception("light_machine_crashed", machine=self.name)
            raise

    async def _boot(self, boot: BootSource) -> None:
        """From the self-test on; returns where the machine reboots."""
        board = self._board
        await board.enter("post")
        await board.clock.sleep(board.settings.post_s)
        for failures in count():
            for source in _BOOT_ORDER[boot]:
                if source == "network":
                    if await self._boot_network():
                        return
                elif (installed := self._bootable()) is not None:
                    await run_system(board, installed)
            # "No bootable device": real firmware waits for a key; one in a rack is set to try again.
            await board.clock.sleep(board.back_off_s(failures))

    async def _boot_network(self) -> bool:
        """True where the machine reboots, False where firmware goes on to its next boot source."""
        board = self._board
        try:
            outcome = await network_boot(board)
        except NoBoot as err:
            log.debug("light_no_network_boot", machine=self.name, reason=str(err))
            return False
        match outcome:
            case Reboot():
                return True
            case NextDevice():
                return False
            case LocalDisk():
                if (installed := self._bootable()) is not None:
                    await run_system(board, installed)
                return False
            case Foreign():
                await self._run_foreign()
            case BootKernel(cmdline):
                try:
                    arguments = parse(cmdline)
                except ValueError:
                    await self._run_foreign()
                else:
                    if (system := await run_agent(board, arguments)) is not None:
                        await run_system(board, system)
        return True

    async def _run_foreign(self) -> None:
        """A kernel that is not the installer's: it runs until the power is cut, and that is all we know of it."""
        await self._board.enter("foreign")
        await asyncio.Event().wait()

    def _bootable(self) -> Installed | None:
        if "disk" in self._board.faults.dead_ways:
            return None
        return next((disk.installed for disk in self.disks if disk.installed is not None), None)

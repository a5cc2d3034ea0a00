"""The joints of the virtual rack: what a BMC can do to a machine, and what a cable sees of a leaf's port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, Protocol

from netconf.desired import Link
from service.lab.console import SerialLine

BootSource = Literal["none", "pxe", "disk"]


class PowerTarget(Protocol):
    """A machine as its BMC drives it. Calls return when the power state has changed, not when it has booted."""

    name: str

    @property
    def mac(self) -> str:
        """The address of its network card, which its BMC tells, too."""

    @property
    def console(self) -> SerialLine:
        """Its serial line."""

    @property
    def powered(self) -> bool:
        """True while the machine is on."""

    async def power_on(self, boot: BootSource) -> None:
        """Start it; `boot` overrides the boot order for this start ("none": network first, then disk)."""

    async def power_off(self) -> None:
        """Cut the power, as a BMC's ForceOff does."""


class LeafPort(Protocol):
    """One port of a leaf, as its *running* configuration makes it behave."""

    leaf: str  # the leaf's host name: option 82's remote-id
    name: str  # "xe-0/0/12"

    @property
    def links(self) -> Sequence[Link]:
        """The routed links; empty for a port without configuration. `Link.role` is told by the filter's name."""

    @property
    def relay_to(self) -> Sequence[IPv4Address]:
        """The DHCP servers that the relay forwards to; empty where the port is in no relay group."""

    @property
    def relay_source(self) -> IPv4Address | None:
        """The giaddr: the leaf's primary address on this port."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every change of the running configuration of this port."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A machine's network card and the leaf port that its cable ends in."""

    mac: str
    port: LeafPort

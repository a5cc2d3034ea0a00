"""What a boot decision depends on, as values: a leaf's port with its boot link and whoever is recorded there. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from uuid import UUID

from pxe.decide import Target
from service.lifecycle import MachineState


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """One port of a leaf. Without a machine it is free: whoever boots there is discovered."""

    port_id: UUID
    leaf: str
    port: str
    facility: str
    link: IPv4Interface | None = None  # the leaf's side of the boot link, which is the giaddr
    link6: IPv6Interface | None = None
    booted_mac: str | None = None  # who booted here last
    machine_id: UUID | None = None
    machine: str | None = None
    mac: str | None = None
    arch: str = "amd64"
    secure_boot: bool = False
    state: MachineState | None = None
    installed: bool = False
    device_id: UUID | None = None
    operating_system: str | None = None
    always_pxe: bool = False
    engine: str | None = None  # that the device asks for; None: as the catalogue says of its system
    rescue: bool = False  # the device is to be in the in-RAM installer, and its disk left alone
    # The host's sides of the boot links: the addresses after the leaf's. Made once, not with every request.
    host: IPv4Interface | None = field(init=False, compare=False)
    host6: IPv6Interface | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        link, link6 = self.link, self.link6
        host = None if link is None else IPv4Interface((int(link.ip) + 1, link.network.prefixlen))
        host6 = None if link6 is None else IPv6Interface((int(link6.ip) + 1, link6.network.prefixlen))
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "host6", host6)

    @property
    def where(self) -> str:
        """The port's name among those of all leaves."""
        return f"{self.leaf} {self.port}"

    def foreign(self, mac: str | None) -> bool:
        """Whether another card than the recorded machine's is at the port."""
        return mac is not None and self.mac is not None and mac != self.mac


def target_of(state: MachineState, *, installed: bool, ipxe: bool, always_pxe: bool) -> Target:
    """Where the machine's next network boot leads. `ipxe`: its device brings an iPXE script instead of a system."""
    match state:
        case MachineState.INSTALLING if ipxe:
            return Target.CUSTOM_IPXE
        case MachineState.IN_USE if ipxe and always_pxe:
            return Target.CUSTOM_IPXE
        case MachineState.IN_USE:
            return Target.LOCAL_DISK
        case MachineState.INSTALLING if installed:
            return Target.LOCAL_DISK
        case _:
            return Target.INSTALLER


def boot_target(facts: PortFacts, *, ipxe: bool, mac: str | None, stranger: bool) -> Target:
    """Where a network boot at the port leads for the card that boots there.

    `stranger` tells that the card is a machine's that is recorded at another port. A machine at the wrong port is never
    led into the installer: the work that waits there was meant for another one's disks.
    """
    if facts.state is None:
        return Target.WAIT if stranger else Target.INSTALLER
    target = target_of(facts.state, installed=facts.installed, ipxe=ipxe, always_pxe=facts.always_pxe)
    if facts.rescue and facts.state is MachineState.IN_USE:
        target = Target.INSTALLER
    return Target.WAIT if target is not Target.LOCAL_DISK and facts.foreign(mac) else target

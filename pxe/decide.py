"""The one question that the boot servers ask, and its answer. Whoever runs them brings the answer (`Decide`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface


class Stage(StrEnum):
    """Who asks."""

    FIRMWARE = "firmware"  # a PXE ROM: wants the first-stage file by TFTP
    HTTP_FIRMWARE = "http-firmware"  # UEFI HTTP Boot: wants a URL
    IPXE = "ipxe"  # iPXE: wants the URL of its script
    SYSTEM = "system"  # an installer or an operating system: wants an address only


class Arch(StrEnum):
    """The client's architecture (RFC 4578 §2.1), as far as it changes the first-stage file."""

    BIOS = "bios"
    UEFI_X64 = "uefi-x64"
    UEFI_ARM64 = "uefi-arm64"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a relay's circuit-id and remote-id may mean."""

    port: str  # the physical interface, without its unit; bare numbers ("1/0/12") where the form tells no more
    node: str | None  # the leaf's host name, None where the relay did not tell one


@dataclass(frozen=True, slots=True)
class BootRequest:
    """A DHCP request, reduced to what a decision may depend on."""

    stage: Stage
    arch: Arch
    mac: str  # lower case, colons
    giaddr: IPv4Address | None  # the relay's address on the client's link, or our own where we are on it; None: neither
    circuit_id: str | None  # option 82 sub-option 1, as text
    remote_id: str | None  # option 82 sub-option 2, as text
    ciaddr: IPv4Address | None = None  # a renewing client has no option 82: its address names the port
    uuid: str | None = None
    readings: tuple[Reading, ...] = ()  # which port option 82 may mean, best first


@dataclass(frozen=True, slots=True)
class Lease:
    """The address that the port owns, as DHCP says it."""

    address: IPv4Interface  # the host's side of the boot link
    router: IPv4Address  # the leaf's side
    seconds: int
    routes: tuple[tuple[IPv4Network, IPv4Address], ...] = ()  # option 121; the default route is added by the server
    nameservers: tuple[IPv4Address, ...] = ()
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class BootDecision:
    """What this client gets. `lease is None` means silence; the reason is logged and counted."""

    lease: Lease | None
    reason: str
    script_url: str | None = None  # for Stage.IPXE
    next_server: IPv4Address | None = None  # the TFTP server, for Stage.FIRMWARE
    signed: bool = False  # the firmware starts signed programs only (Secure Boot): shim instead of iPXE


@dataclass(frozen=True, slots=True)
class Relayed6:
    """What one DHCPv6 relay tells about where it had a message from."""

    link_address: IPv6Address | None
    interface_id: str | None  # option 18, as text
    remote_id: str | None  # option 37, without its enterprise number, as text
    readings: tuple[Reading, ...] = ()  # which port they may mean, best first


@dataclass(frozen=True, slots=True)
class BootRequest6:
    """A DHCPv6 request, reduced to what a decision may depend on."""

    stage: Stage
    arch: Arch
    duid: bytes
    mac: str | None  # as the relay saw it (RFC 6939), else as the DUID or the link-local address tells it
    link_address: IPv6Address | None  # as giaddr
    interface_id: str | None  # option 18 of the innermost relay, as text
    remote_id: str | None  # option 37 of the innermost relay, without its enterprise number, as text
    addresses: tuple[IPv6Address, ...] = ()  # those that the client has or asks for
    uuid: str | None = None
    readings: tuple[Reading, ...] = ()  # which port options 18 and 37 may mean, best first
    # The relays behind the nearest one, towards us. A host can put an envelope of its own around what it sends, in a
    # relay's name; so where one of these names a port that a host is on, that host is the sender.
    beyond: tuple[Relayed6, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease6:
    """The address that the port owns, as DHCPv6 says it; the route comes by router advertisement."""

    address: IPv6Interface
    seconds: int
    nameservers: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class BootDecision6:
    """What this client gets; as `BootDecision`."""

    lease: Lease6 | None
    reason: str
    script_url: str | None = None
    signed: bool = False


# A decision is made from what is in memory: nobody waits for a database between two packets.
Decide = Callable[[BootRequest], BootDecision]
Decide6 = Callable[[BootRequest6], BootDecision6]


class Target(StrEnum):
    """Where a machine's next network boot leads."""

    INSTALLER = "installer"  # the in-RAM installer with its agent: warm pool, install, erase, discovery
    LOCAL_DISK = "local-disk"
    CUSTOM_IPXE = "custom-ipxe"
    WAIT = "wait"  # nothing can be said now: ask again in some seconds


class LocalBoot(StrEnum):
    """How iPXE hands a machine over to its disk."""

    AUTO = "auto"  # as the firmware's kind and the table of hardware that needs another way (`pxe.ipxe`) say
    EXIT = "exit"  # the firmware goes on to its next boot entry
    SANBOOT = "sanboot"  # BIOS: the first disk's boot sector is started
    CHAIN_EFI = "chain-efi"  # UEFI: a program that looks for the loader on the disks is started


@dataclass(frozen=True, slots=True)
class Script:
    """What a machine is to do; rendered by `pxe.ipxe.render`, and by `pxe.grub.render` under Secure Boot."""

    target: Target
    kernel_url: str = ""
    initrd_urls: tuple[str, ...] = ()
    cmdline: str = ""
    custom: str = ""  # Target.CUSTOM_IPXE: the customer's script text or the URL to chain to
    settings: tuple[tuple[str, str], ...] = ()  # that a custom script finds set: name and value
    local_boot: LocalBoot = LocalBoot.AUTO  # Target.LOCAL_DISK


# The script of whoever is at that address, by the query that came along; None for anyone unknown.
ScriptFor = Callable[[IPv4Address | IPv6Address, Mapping[str, str]], Awaitable[Script | None]]

"""What a leaf should be, without a vendor's words: the value that is rendered, compared and applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network


class Profile(StrEnum):
    """What a host port lets through."""

    QUARANTINE = "quarantine"  # the boot services only: DHCP, TFTP, HTTP boot, metadata
    PROVISIONING = "provisioning"  # as quarantine, and the image mirrors
    ACTIVE = "active"  # the order's own addresses to everywhere; the boot link only to the boot services
    RESCUE = "rescue"  # as provisioning, and the order's own addresses to everywhere
    MAINTENANCE = "maintenance"  # as provisioning; whatever was ordered is shut out while somebody works on the machine

    @property
    def opens(self) -> bool:
        """Whether the order's own addresses pass."""
        return self in (Profile.ACTIVE, Profile.RESCUE)

    @property
    def mirrored(self) -> bool:
        """Whether the boot link reaches the image mirrors."""
        return self in (Profile.PROVISIONING, Profile.RESCUE, Profile.MAINTENANCE)


class LinkRole(StrEnum):
    """Which of a port's routed links this is."""

    BOOT = "boot"  # belongs to the port for ever; its leaf side is the giaddr
    PUBLIC = "public"
    PRIVATE = "private"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """One routed link of a port: the leaf has the even address, the host the odd one (a /31 or /127 as a rule)."""

    role: LinkRole
    leaf: IPv4Interface | IPv6Interface

    @property
    def host(self) -> IPv4Interface | IPv6Interface:
        """The machine's side: the address after the leaf's, with the same prefix length."""
        return type(self.leaf)((int(self.leaf.ip) + 1, self.leaf.network.prefixlen))


@dataclass(frozen=True, slots=True)
class Port:
    """A host port as it should be. `generation` rises with every change of the port's desired state."""

    name: str  # the physical interface, "xe-0/0/12"; the logical unit is always 0
    profile: Profile
    links: tuple[Link, ...]
    generation: int = 0
    owner: str = ""  # short note for the port's description: the machine's and the order's short ids
    elastic: tuple[IPv4Network | IPv6Network, ...] = ()  # what else leads to the machine; other ports may have it too


@dataclass(frozen=True, slots=True)
class Leaf:
    """Everything on one leaf that Roundhouse owns. The rest of the leaf's configuration is never touched."""

    name: str
    ports: tuple[Port, ...]
    dhcp_servers: tuple[IPv4Address, ...]
    boot_services: tuple[IPv4Network, ...]  # where the boot link may always go
    mirrors: tuple[IPv4Network, ...] = field(default=())  # where it may go while provisioning

"""What a leaf should be, without a vendor's words: the value that is rendered, compared and applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network


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

    BOOT = "boot"  # one of IPv4, of IPv6, or each, that belong to the port for ever; the leaf side is the giaddr
    PUBLIC = "public"
    PRIVATE = "private"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Link:
    """One routed link of a port: the leaf has the even address, the host the odd one (a /31 or /127 as a rule)."""

    role: LinkRole
    leaf: IPv4Interface | IPv6Interface

    @property
    def host(self) -> IPv4Interface | IPv6Interface:
        """The machine's side: the address after the leaf's, with the same prefix length."""
        return type(self.leaf)((int(self.leaf.ip) + 1, self.leaf.network.prefixlen))

    def __lt__(self, other: Link) -> bool:
        """By role, then IPv4 before IPv6, then address."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[LinkRole, int, int]:
        return self.role, self.leaf.version, int(self.leaf)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A prefix that the leaf takes from a host; unless `exact`, also every longer one inside it."""

    prefix: IPv4Network | IPv6Network
    exact: bool


@dataclass(frozen=True, slots=True)
class BgpSession:
    """A session with the host over one of the port's links; the leaf listens, the host calls.

    All that is announced in it may also be the source of what the host sends.
    """

    link: LinkRole  # private or ipv6; each at most once a port
    peer_as: int  # the host's
    announced: tuple[Announcement, ...]
    default_route: bool  # whether the leaf announces one; it announces nothing else
    password: str = field(default="", repr=False)  # of TCP-MD5 (RFC 2385); empty: none


@dataclass(frozen=True, slots=True)
class Port:
    """A host port as it should be. `generation` rises with every change of the port's desired state."""

    name: str  # the physical interface, "xe-0/0/12"; the logical unit is always 0
    profile: Profile
    links: tuple[Link, ...]
    generation: int = 0
    owner: str = ""  # short note for the port's description: the machine's and the order's short ids
    elastic: tuple[IPv4Network | IPv6Network, ...] = ()  # what else leads to the machine; other ports may have it too
    bgp: tuple[BgpSession, ...] = ()
    take_over: bool = False  # whether a configuration of somebody else's on the interface may be replaced


@dataclass(frozen=True, slots=True)
class Uplink:
    """A routed link to a spine, with an eBGP session over it."""

    name: str  # the physical interface, "et-0/0/48"
    leaf: IPv4Interface | IPv6Interface
    peer: IPv4Address | IPv6Address
    peer_as: int
    description: str  # whom it leads to


@dataclass(frozen=True, slots=True)
class Fabric:
    """What joins the leaf to the rest: its loopback, its uplinks, and who may reach the leaf itself."""

    asn: int
    loopback: tuple[IPv4Interface | IPv6Interface, ...]
    uplinks: tuple[Uplink, ...]
    management: tuple[IPv4Network | IPv6Network, ...]  # NETCONF and SSH are answered to these


@dataclass(frozen=True, slots=True)
class Exemption:
    """An object that an operator accepts as it runs, for as long as ours in its place would not change.

    When what would be rendered there is no longer what it was, the exemption has lapsed and ours counts again.
    """

    key: tuple[str, ...]  # the object's place and name
    instead_of: str  # digest of what is rendered there (`netconf.owned.digest`), of nothing: ""
    xml: str  # what is accepted; empty: that there is nothing


@dataclass(frozen=True, slots=True)
class Leaf:
    """Everything on one leaf that Roundhouse owns. The rest of the leaf's configuration is never touched."""

    name: str
    ports: tuple[Port, ...]
    dhcp_servers: tuple[IPv4Address | IPv6Address, ...]  # each is asked by clients of its own family
    boot_services: tuple[IPv4Network | IPv6Network, ...]  # where the boot link may always go
    mirrors: tuple[IPv4Network | IPv6Network, ...] = field(default=())  # where it may go while provisioning
    fabric: Fabric | None = None  # None: loopback, uplinks and what protects the leaf are the operator's own
    exempt: tuple[Exemption, ...] = ()

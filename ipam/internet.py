"""What of the address space the whole world shares: RDAP and reverse DNS tell of that alone."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from ipam.space import Network, inside

INTERNET = "default"  # the VRF whose addresses are the world's

# Addresses that are in use in many places at once.
_LOCAL: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),  # RFC 1918 §3
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),  # RFC 6598 §7
    IPv4Network("169.254.0.0/16"),  # RFC 3927
    IPv6Network("fc00::/7"),  # RFC 4193 §3.1
    IPv6Network("fe80::/10"),  # RFC 4291 §2.5.6
)


def is_local(block: Network) -> bool:
    """Whether the block is of addresses that have no one holder in the world: private, shared, link-local."""
    return any(inside(block, local) for local in _LOCAL)

"""What a leaf's port advertises to its host, by its running configuration."""

from __future__ import annotations

from ipaddress import IPv6Interface, IPv6Network

from netconf.desired import LinkRole
from pxe.router_advert import Advert
from service.lab.parts import LeafPort

_LIFETIME_S = 1800
_LONGEST_PREFIX = 64  # iPXE takes its address for one of a /64, and sees no router in what is longer


def advert_of(port: LeafPort) -> Advert:
    """DHCPv6 and a default router where the port boots by IPv6, else that there is no router."""
    for link in port.links:
        if link.role is LinkRole.BOOT and isinstance(link.leaf, IPv6Interface):
            prefix = IPv6Network((link.leaf.ip, min(link.leaf.network.prefixlen, _LONGEST_PREFIX)), strict=False)
            return Advert(managed=True, other=True, lifetime_s=_LIFETIME_S, prefix=prefix)
    return Advert()

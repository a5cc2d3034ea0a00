"""What a leaf's port advertises to its host, by its running configuration."""

from __future__ import annotations

from ipaddress import IPv6Interface

from netconf.desired import LinkRole
from pxe.router_advert import Advert
from service.lab.parts import LeafPort

_LIFETIME_S = 1800


def advert_of(port: LeafPort) -> Advert:
    """DHCPv6 and a default router where the port boots by IPv6, else that there is no router."""
    for link in port.links:
        if link.role is LinkRole.BOOT and isinstance(link.leaf, IPv6Interface):
            return Advert(managed=True, other=True, lifetime_s=_LIFETIME_S, prefix=link.leaf.network)
    return Advert()

"""What a leaf's port advertises to its host, by its running configuration."""

from __future__ import annotations

from netconf.desired import LinkRole
from pxe.router_advert import Advert
from service.lab.parts import LeafPort

_LIFETIME_S = 1800


def advert_of(port: LeafPort) -> Advert:
    """DHCPv6 and a default router where the port boots by IPv6, else that there is no router."""
    boots = any(link.role is LinkRole.BOOT and link.leaf.version == 6 for link in port.links)
    return Advert(managed=True, other=True, lifetime_s=_LIFETIME_S) if boots else Advert()

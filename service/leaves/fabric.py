"""What joins a leaf to the rest of the network, as an operator says it and as the database keeps it (`leaf.fabric`)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated

from pydantic import Field, model_validator

from ipam.asn import LAST
from netconf.desired import Fabric, Uplink
from service.api.models import Strict

_PORT = r"^(xe|et|ge)-\d{1,2}/\d{1,2}/\d{1,3}(:\d)?$"
Asn = Annotated[int, Field(ge=1, le=LAST)]


class UplinkEntry(Strict):
    """A routed link to a spine, and the spine's side of it; once more for the other address family."""

    name: Annotated[str, Field(pattern=_PORT)]
    address: IPv4Interface | IPv6Interface
    peer: IPv4Address | IPv6Address
    peer_as: Asn
    description: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")]

    @model_validator(mode="after")
    def _joined(self) -> UplinkEntry:
        if self.peer not in self.address.network or self.peer == self.address.ip:
            raise ValueError(f"peer: {self.peer} is no other address of {self.address.network}")
        return self


class FabricEntry(Strict):
    """Loopback, uplinks, AS number, and who may reach the leaf itself."""

    asn: Asn
    loopback: Annotated[list[IPv4Interface | IPv6Interface], Field(min_length=1, max_length=4)]
    uplinks: Annotated[list[UplinkEntry], Field(max_length=16)]
    management: list[IPv4Network | IPv6Network] = Field(default_factory=list, max_length=32)

    @model_validator(mode="after")
    def _distinct(self) -> FabricEntry:
        links = [(uplink.name, uplink.address.version) for uplink in self.uplinks]
        for name, version in links:
            if links.count((name, version)) > 1:
                raise ValueError(f"uplinks: {name} is named twice with IPv{version}")
        for address in self.loopback:
            if address.network.num_addresses != 1:
                raise ValueError(f"loopback: {address} is no single address")
        return self

    def desired(self) -> Fabric:
        """As the leaf's desired state has it."""
        uplinks = tuple(
            Uplink(one.name, one.address, one.peer, one.peer_as, one.description)
            for one in sorted(self.uplinks, key=lambda one: (one.name, one.address.version))
        )
        return Fabric(self.asn, tuple(self.loopback), uplinks, tuple(self.management))

"""Answers to DHCP requests, from the index alone: no wait, no database, no clock. What was seen is handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from uuid import UUID

from pxe.decide import (
    BootDecision,
    BootDecision6,
    BootRequest,
    BootRequest6,
    Lease,
    Lease6,
    Reading,
    Stage,
)
from service.boot.facts import PortFacts
from service.boot.index import BootIndex
from service.lifecycle import MachineState

LEASE_S = 600
_METADATA = IPv4Network("169.254.169.254/32")

Saw = Callable[[UUID, str], None]  # port, MAC


class BootDecider:
    """`pxe.decide.Decide` and `Decide6` over an index."""

    def __init__(
        self, index: BootIndex, *, boot_url: str, boot_url6: str | None, nameservers: Iterable[str], saw: Saw
    ) -> None:
        """`saw` is told when another card than before boots at a port; it must return at once."""
        self._index = index
        self._script = f"{boot_url}/boot/ipxe"
        self._script6 = f"{boot_url6}/boot/ipxe" if boot_url6 else None
        names = [ip_address(name) for name in nameservers]
        self._nameservers = tuple(name for name in names if isinstance(name, IPv4Address))
        self._nameservers6 = tuple(name for name in names if isinstance(name, IPv6Address))
        self._saw = saw
        self._leases: dict[UUID, tuple[PortFacts, Lease]] = {}

    def decide(self, request: BootRequest) -> BootDecision:
        """The answer to a DHCP request."""
        facts = self._port(request.giaddr, request.ciaddr, request.readings, request.remote_id)
        if isinstance(facts, str):
            return BootDecision(None, facts)
        lease = self._lease(facts)
        if lease is None:
            return BootDecision(None, f"{facts.where} has no boot link")
        self._look(facts, request.mac, request.stage)
        url = f"{self._script}?mac={request.mac}&arch={request.arch}" if request.stage is Stage.IPXE else None
        return BootDecision(lease, "the port's boot link", script_url=url, signed=facts.secure_boot)

    def _lease(self, facts: PortFacts) -> Lease | None:
        """What DHCP says of the port, made once for each of its states."""
        known = self._leases.get(facts.port_id)
        if known is not None and known[0] is facts:
            return known[1]
        if facts.host is None or facts.link is None:
            return None
        router = facts.link.ip
        lease = Lease(facts.host, router, LEASE_S, ((_METADATA, router),), self._nameservers)
        self._leases[facts.port_id] = facts, lease
        return lease

    def decide6(self, request: BootRequest6) -> BootDecision6:
        """The answer to a DHCPv6 request."""
        facts = self._port6(request)
        if isinstance(facts, str):
            return BootDecision6(None, facts)
        host = facts.host6
        if host is None:
            return BootDecision6(None, f"{facts.where} has no IPv6 boot link")
        mac = request.mac
        if mac is not None:
            self._look(facts, mac, request.stage)
        url = None
        if self._script6 is not None and request.stage is Stage.IPXE:
            url = f"{self._script6}?arch={request.arch}" + (f"&mac={mac}" if mac is not None else "")
        lease = Lease6(host, LEASE_S, self._nameservers6)
        return BootDecision6(lease, "the port's boot link", script_url=url, signed=facts.secure_boot)

    def _port6(self, request: BootRequest6) -> PortFacts | str:
        # A relay farther out that names a port of ours tells who made up the envelopes within.
        for relay in reversed(request.beyond):
            found = self._port(relay.link_address, None, relay.readings, relay.remote_id)
            if not isinstance(found, str):
                return found
        client = request.addresses[0] if request.addresses and request.link_address is None else None
        return self._port(request.link_address, client, request.readings, request.remote_id)

    def _port(
        self,
        relay: IPv4Address | IPv6Address | None,
        client: IPv4Address | IPv6Address | None,
        readings: Iterable[Reading],
        remote_id: str | None,
    ) -> PortFacts | str:
        """The port that the request came by, or why it is none of ours.

        What the relay says of the port counts above its address, and the two must agree: a relay that is told to speak
        from another address, or a forged option, is not to be believed either way.
        """
        if relay is None:
            if client is None:
                return "neither relayed nor renewing"
            return self._index.at(client) or f"{client} is in no boot link"
        by_address = self._index.relayed_from(relay)
        unknown = []
        for reading in readings:
            leaf = next((name for name in (reading.node, remote_id) if name and self._index.has_leaf(name)), None)
            if leaf is None:
                continue
            if (named := self._index.named(leaf, reading.port)) is not None:
                if named is not by_address:
                    link = named.link if relay.version == 4 else named.link6
                    return f"giaddr {relay} is not {named.where} ({link.ip if link else 'no boot link'})"
                return named
            unknown.append(f"{leaf} {reading.port}")
        if unknown:
            return f"{unknown[0]} is no port of ours"
        return by_address or f"giaddr {relay} is in no boot link"

    def _look(self, facts: PortFacts, mac: str, stage: Stage) -> None:
        """Hand on who boots at the port when that is news; what a customer's own guests ask for is none."""
        if mac == facts.mac:
            if mac != facts.booted_mac:
                self._saw(facts.port_id, mac)
            return
        home = self._index.home_of(mac)
        guest = stage is Stage.SYSTEM or (home is None and facts.state is MachineState.IN_USE)
        # A machine at the wrong port is news at each of its boots: whoever waits for it must know that it still is.
        if not guest and (facts.mac is not None or home is not None):
            self._saw(facts.port_id, mac)

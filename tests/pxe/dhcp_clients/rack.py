"""A host, its leaf and the server: a /31 with the leaf's relay between them, as a rack has it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from pxe.counters import Counters
from pxe.decide import BootDecision, BootRequest, Lease
from pxe.dhcp.server import DhcpSettings
from tests.pxe.dhcp_clients.net import Heard, Net, hear, net, server_in, until

SERVER = IPv4Address("192.0.2.10")
LEAF = IPv4Interface("10.64.0.24/31")
HOST = IPv4Interface("10.64.0.25/31")
METADATA = IPv4Network("169.254.169.254/32")
SETTINGS = DhcpSettings(listen=str(SERVER), server_id=SERVER, tftp_server=SERVER, http_url="http://192.0.2.10")


@dataclass
class Rack:
    """What a test works with. `lease` is what the port of `LEAF` has; a test may change it."""

    net: Net
    folder: Path
    counters: Counters
    heard: Heard  # beside the server
    lease: Lease
    asked: list[BootRequest] = field(default_factory=list)
    declined: list[BootRequest] = field(default_factory=list)

    def decide(self, asked: BootRequest) -> BootDecision:
        """The port's lease to whoever is on the port, or renews from its address."""
        self.asked.append(asked)
        link = self.lease.address.network
        mine = asked.giaddr in link if asked.giaddr is not None else asked.ciaddr in link if asked.ciaddr else False
        return BootDecision(self.lease if mine else None, "the port" if mine else "no port of ours")

    def answered(self, kind: str) -> int:
        """How many answers of a kind ("offer", "ack", "nak") went out."""
        return self.counters.snapshot().get(f"dhcp_answered_{kind}", 0)


def lease(address: IPv4Interface = HOST, seconds: int = 10) -> Lease:
    """A short one, so that a test sees it renewed."""
    router = LEAF.ip if address == HOST else IPv4Address(int(address.ip) ^ 1)
    return Lease(address, router, seconds, ((METADATA, router),), (IPv4Address("192.0.2.53"),), "n1")


@asynccontextmanager
async def rack(folder: Path, relays: int = 1) -> AsyncIterator[Rack]:
    """The three namespaces, cabled and routed, and our server; the relay is the test's to start in `leaf`.

    With two relays a second leaf stands between the first one and the server.
    """
    with net() as made:
        made.cable("leaf", "p0", "host", "eth0")
        made.ip("leaf", f"address add {LEAF} dev p0")
        last = "leaf"
        if relays == 2:
            made.cable("leaf", "up0", "hop", "p1")
            made.ip("leaf", "address add 10.255.1.1/30 dev up0")
            made.ip("hop", "address add 10.255.1.2/30 dev p1")
            made.ip("leaf", "route add default via 10.255.1.2")
            made.ip("hop", "route add 10.64.0.0/16 via 10.255.1.1")
            last = "hop"
        made.cable(last, "up0" if relays == 1 else "up1", "server", "wan")
        made.ip(last, f"address add 10.255.0.1/30 dev {'up0' if relays == 1 else 'up1'}")
        made.ip("server", "address add 10.255.0.2/30 dev wan")
        made.ip("server", f"address add {SERVER}/32 dev lo")
        made.ip(last, f"route add {SERVER} via 10.255.0.2")
        made.ip("server", "route add default via 10.255.0.1")
        for name in ("leaf", "hop")[:relays]:
            made.routed(name)
        async with hear(made, "server", "wan") as heard:
            world = Rack(made, folder, Counters(), heard, lease())
            async with server_in(made, "server", SETTINGS, world.decide, world.declined.append) as counters:
                world.counters = counters
                yield world


async def relay(world: Rack, kind: str = "isc") -> subprocess.Popen[bytes]:
    """Start a relay in `leaf`: ISC's with option 82, or dnsmasq's, which tells the giaddr alone."""
    if kind == "isc":
        words = ["dhcrelay", "-4", "-d", "-a", "-id", "p0", "-iu", "up0", str(SERVER)]
    else:
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
        words += ["--pid-file=", "--dhcp-leasefile=/dev/null", f"--dhcp-relay={LEAF.ip},{SERVER}"]
    program = world.net.start("leaf", *words)
    await until(lambda: ":0043 " in world.net.run("leaf", "cat", "/proc/net/udp"))
    return program

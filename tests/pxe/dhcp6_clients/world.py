"""A host on a leaf's port, the leaf with its uplink, and the server behind it; and the server's decision."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Interface

from pxe.decide import BootDecision6, BootRequest6, Lease6
from pxe.dhcp6.answer import server_duid
from pxe.dhcp6.server import Dhcp6Server, Dhcp6Settings, serve_dhcp6
from tests.pxe.dhcp6_clients.network import Network

SERVER = IPv6Address("2001:db8:5::10")
UPLINK = IPv6Interface("2001:db8:5::1/64")
HOST = IPv6Address("2001:db8:64::1")
LEAF = IPv6Address("2001:db8:64::")
NAMESERVER = IPv6Address("2001:db8:5::53")

# Programs by the Debian package that has them.
PACKAGES = {
    "ip": "iproute2",
    "dhclient": "isc-dhcp-client",
    "dhcrelay": "isc-dhcp-relay",
    "dhcpcd": "dhcpcd-base",
    "dhcp6c": "wide-dhcpv6-client",
    "dnsmasq": "dnsmasq-base",
}


def missing(*programs: str) -> str:
    """What pytest says where a package is not there; nothing where all are."""
    packages = sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})
    return f"needs the packages {', '.join(packages)}" if packages else ""


@dataclass
class Decider:
    """Gives the port's address to whoever comes by its link (None: by any), and remembers who asked."""

    lease: Lease6
    link: IPv6Address | None = LEAF
    script_url: str | None = None
    asked: list[BootRequest6] = field(default_factory=list)

    def decide(self, asked: BootRequest6) -> BootDecision6:
        self.asked.append(asked)
        return BootDecision6(self.lease if self.link in (None, asked.link_address) else None, "port", self.script_url)


def lease(address: IPv6Address = HOST, length: int = 127, seconds: int = 600) -> Lease6:
    return Lease6(IPv6Interface((address, length)), seconds, (NAMESERVER,))


def addresses(net: Network, place: str, *words: str) -> None:
    """Give a place addresses: "ADDRESS interface"."""
    for one in words:
        address, interface = one.split()
        net.run(place, "ip", "-6", "address", "add", address, "dev", interface, "nodad")


def join(net: Network, *, length: int = 127) -> None:
    """The leaf between the port's link and the server's network."""
    net.cable("leaf", "up0", "server", "eth0")
    net.route("leaf")
    addresses(net, "leaf", f"{LEAF if length == 127 else LEAF + 0x100}/{length} p0", f"{UPLINK} up0")
    addresses(net, "server", f"{SERVER}/64 eth0")
    net.run("server", "ip", "-6", "route", "add", "default", "via", str(UPLINK.ip))


def relay(*more: str, lower: str = "p0", upper: str = f"{SERVER}%up0", interface_id: bool = True) -> list[str]:
    """ISC's relay; `upper` is a server's address with the interface that leads there, or that interface alone."""
    words = ["dhcrelay", "-6", "-d", "--no-pid", "-l", lower, "-u", upper, *more]
    return [*words, "-I"] if interface_id else words


@asynccontextmanager
async def served(
    decider: Decider, *, name: str = "lab", interfaces: tuple[str, ...] = (), listen: str = str(SERVER), port: int = 547
) -> AsyncIterator[Dhcp6Server]:
    """The server; DECLINEs are counted by itself."""
    settings = Dhcp6Settings(
        listen=listen,
        duid=server_duid(name),
        tftp_server=SERVER,
        http_url=f"http://[{SERVER}]:8080",
        interfaces=interfaces,
        port=port,
    )
    async with serve_dhcp6(settings, decider.decide) as server:
        yield server


async def until(net: Network, text: str, *, place: str = "host", interface: str = "eth0", within_s: float = 40) -> None:
    """Wait until the interface's addresses have a text, or, with "!" before it, have it no longer."""
    async with asyncio.timeout(within_s):
        while (text.removeprefix("!") in net.addresses(place, interface)) is text.startswith("!"):
            await asyncio.sleep(0.1)


async def counted(server: Dhcp6Server, name: str, at_least: int = 1, within_s: float = 40) -> None:
    """Wait until a count of the server has come that far."""
    async with asyncio.timeout(within_s):
        while server.counters.snapshot().get(name, 0) < at_least:
            await asyncio.sleep(0.05)

"""The leaf's DHCP relay: a client's broadcast on a port becomes a unicast to the servers, and back.

It behaves as Junos' `forwarding-options dhcp-relay` with option 82 on a routed access port: circuit-id is the logical
interface, remote-id the leaf's host name, giaddr the primary address of the port.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address

import structlog

from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREPLY, BOOTREQUEST, UNSPECIFIED, Malformed, Message, decode, encode
from service.lab.parts import LeafPort

log = structlog.get_logger()

_MOST_HOPS = 16  # RFC 1542 §4.1.1


class Relay:
    """The relay on one leaf port. Each message is treated by the port's configuration of that very moment."""

    def __init__(
        self,
        port: LeafPort,
        deliver: Callable[[bytes], None],
        *,
        server_port: int = 67,
        relay_port: int = 67,
    ) -> None:
        """`deliver` gets what the port broadcasts to its client. The giaddr must be an address of this host."""
        self._port = port
        self._deliver = deliver
        self._server_port = server_port
        self._relay_port = relay_port
        self._upstream: socket.socket | None = None
        self._giaddr: IPv4Address | None = None  # what the upstream socket is bound to

    def from_client(self, datagram: bytes) -> None:
        """Take what a client broadcast on the port, and forward it or drop it."""
        giaddr, servers = self._port.relay_source, self._port.relay_to
        if giaddr is None or not servers:
            return  # in no relay group: the leaf does not even look at it
        try:
            request = decode(datagram)
        except Malformed:
            return
        # A host port is no place for another relay, nor for a client that brings its own option 82 (RFC 3046 §2.1.1).
        if (
            request.op != BOOTREQUEST
            or request.giaddr != UNSPECIFIED
            or opt.AGENT_INFORMATION in request.options
            or request.hops >= _MOST_HOPS
        ):
            log.info("relay_dropped", leaf=self._port.leaf, port=self._port.name)
            return
        datagram = encode(relayed(request, giaddr, f"{self._port.name}.0", self._port.leaf))
        try:
            upstream = self._bound(giaddr)
            for server in servers:
                upstream.sendto(datagram, (str(server), self._server_port))
        except OSError as err:
            log.info("relay_send_failed", leaf=self._port.leaf, port=self._port.name, detail=str(err))

    def close(self) -> None:
        """Give the giaddr's socket back."""
        if self._upstream is not None:
            asyncio.get_running_loop().remove_reader(self._upstream)
            self._upstream.close()
        self._upstream = self._giaddr = None

    def _bound(self, giaddr: IPv4Address) -> socket.socket:
        """The socket at the giaddr; opened at need, because most ports of a large rack are silent most of the time."""
        if self._upstream is not None and self._giaddr == giaddr:
            return self._upstream
        self.close()
        upstream = _udp((str(giaddr), self._relay_port))
        asyncio.get_running_loop().add_reader(upstream, self._from_server, upstream)
        self._upstream, self._giaddr = upstream, giaddr
        return upstream

    def _from_server(self, upstream: socket.socket) -> None:
        try:
            datagram, (source, _) = upstream.recvfrom(4096)
            reply = decode(datagram)
        except (OSError, Malformed):
            return
        if reply.op != BOOTREPLY or reply.giaddr != self._giaddr or IPv4Address(source) not in self._port.relay_to:
            return
        left = {code: value for code, value in reply.options.items() if code != opt.AGENT_INFORMATION}
        self._deliver(encode(replace(reply, options=left)))


def relayed(request: Message, giaddr: IPv4Address, circuit_id: str, remote_id: str) -> Message:
    """The request as a relay forwards it: giaddr, one more hop, option 82."""
    agent = opt.sub_options({opt.CIRCUIT_ID: circuit_id.encode(), opt.REMOTE_ID: remote_id.encode()})
    return replace(
        request,
        giaddr=giaddr,
        hops=request.hops + 1,
        options={**request.options, opt.AGENT_INFORMATION: agent},
    )


@asynccontextmanager
async def serve_tap_relay(
    port: LeafPort,
    interface: str,
    *,
    server_port: int = 67,
    relay_port: int = 67,
) -> AsyncIterator[Relay]:
    """Relay for the real client on `interface` (a virtual machine's tap) while the block runs; needs root.

    Replies are broadcast: a client that is being configured answers no ARP yet, and firmware, iPXE and udhcpc all
    take a broadcast. The giaddr must be an address of this host. Raises OSError where a socket cannot be had.
    """
    loop = asyncio.get_running_loop()
    # At the broadcast address it hears broadcasts only, and leaves port 67 of every other address to its owner: a DHCP
    # server on this host, the giaddr's socket, the other taps.
    wire = _udp(("255.255.255.255", 67), interface)

    def deliver(datagram: bytes) -> None:
        try:
            wire.sendto(datagram, ("255.255.255.255", 68))
        except OSError as err:  # the interface is down while its machine is off
            log.info("relay_send_failed", leaf=port.leaf, port=port.name, detail=str(err))

    relay = Relay(port, deliver, server_port=server_port, relay_port=relay_port)

    def readable() -> None:
        try:
            relay.from_client(wire.recv(4096))
        except OSError as err:
            log.info("relay_receive_failed", leaf=port.leaf, port=port.name, detail=str(err))

    loop.add_reader(wire, readable)
    try:
        yield relay
    finally:
        loop.remove_reader(wire)
        wire.close()
        relay.close()


def _udp(address: tuple[str, int], interface: str | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock

"""The DHCP endpoint: one UDP socket, relayed and local clients, every answer asked of `Decide`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import cast

import structlog

from pxe.decide import Decide
from pxe.dhcp.answer import Identity, answer, reply_address
from pxe.dhcp.message import BOOTREQUEST, Malformed, Message, decode, encode
from pxe.dhcp.request import boot_request

log = structlog.get_logger()

# A decision takes milliseconds; past this many under way the database is away, and clients ask again by themselves.
_MOST_PENDING = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpSettings:
    """Where the server listens and what it calls itself. Ports other than RFC 2131's let it run without root."""

    listen: str
    server_id: IPv4Address
    tftp_server: IPv4Address
    http_url: str
    port: int = 67
    relay_port: int = 67  # where a relay takes its replies
    client_port: int = 68
    interface: str | None = None  # answer clients on this interface only (SO_BINDTODEVICE, root)


class DhcpServer(asyncio.DatagramProtocol):
    """Answers every datagram in a task of its own, so that a slow decision holds up no one else."""

    def __init__(self, settings: DhcpSettings, decide: Decide) -> None:
        self._settings = settings
        self._decide = decide
        self._identity = Identity(settings.server_id, settings.tftp_server, settings.http_url)
        # Firmware repeats itself while it waits: one message of one client is decided once at a time.
        self._pending: dict[tuple[bytes, int, int | None, bytes], asyncio.Task[None]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Called by asyncio."""
        try:
            request = decode(data)
        except Malformed as err:
            log.debug("dhcp_malformed", source=addr[0], detail=str(err))
            return
        if request.op != BOOTREQUEST:
            return
        key = (request.chaddr, request.xid, request.kind, request.giaddr.packed)
        if key in self._pending:
            return
        if len(self._pending) >= _MOST_PENDING:
            log.warning("dhcp_overloaded", pending=len(self._pending))
            return
        task = asyncio.create_task(self._answer(request))
        self._pending[key] = task
        task.add_done_callback(lambda _: self._pending.pop(key, None))

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio: an ICMP error for a reply, as when a relay has gone."""
        log.debug("dhcp_send_failed", detail=str(exc))

    async def close(self) -> None:
        """Stop answering and wait until what was under way has ended."""
        if self._transport is not None:
            self._transport.close()
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Message) -> None:
        asked = boot_request(request)
        fields = {
            "mac": asked.mac,
            "stage": str(asked.stage),
            "giaddr": str(asked.giaddr) if asked.giaddr else None,
            "circuit_id": asked.circuit_id,
        }
        try:
            decision = self._decide(asked)
        except Exception:
            # Silence is what a client can live with: it asks again. The reason must not be lost all the same.
            log.exception("dhcp_undecided", **fields)
            return
        reply = answer(request, decision, self._identity)
        if reply is None or self._transport is None or self._transport.is_closing():
            log.info("dhcp_silent", kind=request.kind, reason=decision.reason, **fields)
            return
        target = reply_address(
            request, reply, relay_port=self._settings.relay_port, client_port=self._settings.client_port
        )
        self._transport.sendto(encode(reply), target)
        log.debug("dhcp_answered", kind=reply.kind, yiaddr=str(reply.yiaddr), reason=decision.reason, **fields)


def _open_socket(settings: DhcpSettings) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # A row of racks that is powered on at once asks in one second; the kernel's default holds some 300 messages.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if settings.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, settings.interface.encode())
        sock.bind((settings.listen, settings.port))
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def serve_dhcp(settings: DhcpSettings, decide: Decide) -> AsyncIterator[DhcpServer]:
    """Serve DHCP while the block runs. Raises OSError where the address or the port cannot be had."""
    sock = _open_socket(settings)
    try:
        _, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: DhcpServer(settings, decide), sock=sock
        )
    except BaseException:
        sock.close()
        raise
    try:
        yield server
    finally:
        await server.close()

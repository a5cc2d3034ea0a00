"""The DHCP endpoint: one UDP socket, relayed and local clients, every answer asked of `Decide`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

import structlog

from pxe.counters import Counters
from pxe.decide import BootDecision, BootRequest, Decide
from pxe.dhcp import options as opt
from pxe.dhcp.answer import Identity, answer, is_ours, reply_address
from pxe.dhcp.message import BOOTREQUEST, UNSPECIFIED, Malformed, Message, decode, encode
from pxe.dhcp.request import boot_request
from pxe.dhcp.wire import Arrival, DhcpSocket

log = structlog.get_logger()

# Then the event loop gets its turn: the same process serves TFTP and HTTP.
_DATAGRAMS_A_TURN = 32
_LINES_A_SECOND = 20
_ANSWERED = {opt.OFFER: "dhcp_answered_offer", opt.ACK: "dhcp_answered_ack", opt.NAK: "dhcp_answered_nak"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpSettings:
    """Where the server listens and what it calls itself. Ports other than RFC 2131's let it run without root."""

    listen: str  # 0.0.0.0 hears clients on this host's own links too; a single address hears relays and renewals
    server_id: IPv4Address
    tftp_server: IPv4Address
    http_url: str
    port: int = 67
    relay_port: int = 67  # where a relay takes its replies
    client_port: int = 68
    interface: str | None = None  # answer clients on this interface only (SO_BINDTODEVICE, root)


class DhcpServer:
    """Answers each datagram at once, from what `decide` has in memory; no state from one message to the next.

    Counts: dhcp_received, dhcp_malformed, dhcp_silent (no answer is the answer), dhcp_answered_offer, _ack and _nak,
    dhcp_undecided (`decide` raised), dhcp_declined, dhcp_released, dhcp_send_failed, and dhcp_dropped (the kernel had
    no room for a datagram). `declined` hears of each client that found its address in use by somebody else.
    """

    def __init__(
        self,
        settings: DhcpSettings,
        decide: Decide,
        *,
        counters: Counters | None = None,
        declined: Callable[[BootRequest], None] | None = None,
    ) -> None:
        """Raises OSError where the address or the port cannot be had."""
        self.counters = counters or Counters()
        self._settings = settings
        self._decide = decide
        self._declined = declined
        self._identity = Identity(settings.server_id, settings.tftp_server, settings.http_url)
        self._socket = DhcpSocket(settings.listen, settings.port, settings.interface)
        self._dropped = 0
        self._verbose = log.is_enabled_for(logging.DEBUG)  # asked once: a log call that is off costs as much as a codec
        self._lines = _Lines()

    def fileno(self) -> int:
        """The socket, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop answering."""
        self._socket.close()

    def readable(self) -> None:
        """Answer what has come in."""
        for _ in range(_DATAGRAMS_A_TURN):
            arrival = self._socket.receive()
            if arrival is None:
                break
            self._handle(arrival)
        if self._socket.dropped != self._dropped:
            # Clients ask again by themselves; that it happens at all says that one process is too few.
            lost = (self._socket.dropped - self._dropped) & 0xFFFFFFFF
            self._dropped = self._socket.dropped
            self.counters.count("dhcp_dropped", lost)
            if self._lines.may():
                log.warning("dhcp_dropped", datagrams=lost)

    def _handle(self, arrival: Arrival) -> None:
        count = self.counters.count
        count("dhcp_received")
        try:
            request = decode(arrival.datagram)
        except Malformed as err:
            count("dhcp_malformed")
            if self._verbose:
                log.debug("dhcp_malformed", source=arrival.source, detail=str(err))
            return
        link = None
        if request.giaddr == UNSPECIFIED:
            if arrival.broadcast:
                link = self._socket.address_on(arrival.interface)
            if link is None and (arrival.broadcast or str(request.ciaddr) != arrival.source):
                self._silent(request, "neither relayed, nor on a link of ours, nor from the address that it names")
                return
        if request.op != BOOTREQUEST or not is_ours(request, self._identity):
            self._silent(request, "meant for others")
            return
        match request.kind:
            case opt.DISCOVER | opt.REQUEST | opt.INFORM:
                self._answer(request, arrival, link)
            case opt.DECLINE:
                self._decline(boot_request(request, link))
            case opt.RELEASE:
                count("dhcp_released")
            case _:
                self._silent(request, "no request of DHCP")

    def _answer(self, request: Message, arrival: Arrival, link: IPv4Address | None) -> None:
        asked = boot_request(request, link)
        try:
            decision = self._decide(asked)
        except Exception:
            # Silence is what a client can live with: it asks again. The reason must not be lost all the same.
            self.counters.count("dhcp_undecided")
            if self._lines.may():
                log.exception("dhcp_undecided", **_fields(asked))
            return
        reply = answer(request, decision, self._identity)
        if reply is None:
            self._silent(request, decision.reason, asked)
            return
        target = reply_address(
            request,
            reply,
            relay_port=self._settings.relay_port,
            client_port=self._settings.client_port,
            local=link is not None,
        )
        try:
            if link is None:
                self._socket.send(encode(reply), target, arrival.own)
            else:
                self._socket.send(encode(reply), target, link.packed, arrival.interface)
        except OSError as err:  # the route to the relay is gone, or the card cannot take more now
            self.counters.count("dhcp_send_failed")
            if self._lines.may():
                log.warning("dhcp_send_failed", target=target[0], detail=str(err), **_fields(asked))
            return
        self.counters.count(_ANSWERED[reply.kind or 0])
        if self._verbose:
            self._tell_answered(reply, decision, asked)

    def _tell_answered(self, reply: Message, decision: BootDecision, asked: BootRequest) -> None:
        log.debug("dhcp_answered", kind=reply.kind, yiaddr=str(reply.yiaddr), reason=decision.reason, **_fields(asked))

    def _decline(self, asked: BootRequest) -> None:
        self.counters.count("dhcp_declined")
        if self._lines.may():
            log.warning("dhcp_declined", **_fields(asked))
        if self._declined is not None:
            self._declined(asked)

    def _silent(self, request: Message, reason: str, asked: BootRequest | None = None) -> None:
        self.counters.count("dhcp_silent")
        if self._lines.may():
            fields = _fields(asked) if asked else {"mac": request.chaddr.hex(":")}
            log.info("dhcp_silent", kind=request.kind, reason=reason, **fields)


class _Lines:
    """So many log lines a second: a storm must not be made worse by telling of it. The counts miss nothing."""

    def __init__(self) -> None:
        self._second = 0.0
        self._left = _LINES_A_SECOND

    def may(self) -> bool:
        """True where one more line may be written."""
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._left = now, _LINES_A_SECOND
        self._left -= 1
        return self._left >= 0


def _fields(asked: BootRequest) -> dict[str, str | None]:
    return {
        "mac": asked.mac,
        "stage": str(asked.stage),
        "giaddr": str(asked.giaddr) if asked.giaddr else None,
        "circuit_id": asked.circuit_id,
    }


@asynccontextmanager
async def serve_dhcp(
    settings: DhcpSettings,
    decide: Decide,
    *,
    counters: Counters | None = None,
    declined: Callable[[BootRequest], None] | None = None,
) -> AsyncIterator[DhcpServer]:
    """Serve DHCP while the block runs. Raises OSError where the address or the port cannot be had."""
    server = DhcpServer(settings, decide, counters=counters, declined=declined)
    loop = asyncio.get_running_loop()
    loop.add_reader(server, server.readable)
    try:
        yield server
    finally:
        loop.remove_reader(server)
        server.close()

"""The TFTP server: one listening socket, and one connected socket for each transfer."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic

import structlog

from pxe.counters import Counters
from pxe.tftp import packets
from pxe.tftp.deadlines import Deadlines
from pxe.tftp.poller import Poller
from pxe.tftp.transfer import Address, Outcome, Transfer

log = structlog.get_logger()

_OTHER_DESCRIPTORS = 4096
_REQUESTS_AT_ONCE = 4  # then the turn of the transfers under way
_MOST_REQUEST = 1024  # RFC 2347 allows 512
# The same request once more is a datagram that came twice; after so long the client has begun anew.
_ANEW_S = 1.0
_BUSY_LOG_S = 10.0
_MOST_ASKING = 1024
# Linux's ip(7); the socket module has no name for it.
_IP_PKTINFO = 8


# What a client at that address gets under a name that is not served to all; None: there is no such file.
Ask = Callable[[str, IPv4Address | IPv6Address], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TftpSettings:
    """Where the server listens, an IPv4 or an IPv6 address, and how many transfers it takes at a time.

    With "0.0.0.0" or "::" each transfer answers from the address that its request came to.
    """

    listen: str
    port: int = 69
    # With every place taken a request stays without an answer: firmware asks again some seconds later, whereas an ERROR
    # would make it boot from elsewhere.
    most_transfers: int = 16_384
    # So that one address cannot take all places. A machine has one or two, address translators have some more.
    most_of_one_client: int = 64


class TftpServer:
    """Serves a mapping of names to contents, read-only. There is no path to escape from: a name is in it or is not."""

    def __init__(
        self,
        sock: socket.socket,
        settings: TftpSettings,
        files: Mapping[str, bytes],
        counters: Counters,
        ask: Ask | None = None,
    ) -> None:
        self._sock = sock
        self._settings = settings
        self._files = files
        self._counters = counters
        self._ask = ask
        self._asking: dict[Address, asyncio.Task[None]] = {}
        self._transfers: dict[Address, Transfer] = {}
        self._of_client: Counter[str] = Counter()
        # Those whose client has not answered yet, the oldest first.
        self._unheard: dict[Address, Transfer] = {}
        self._busy_logged_at = -_BUSY_LOG_S
        loop = asyncio.get_running_loop()
        self._poller = Poller(loop)
        self._deadlines = Deadlines(loop)
        self._poller.add(sock.fileno(), self._requested)

    @property
    def transfers(self) -> int:
        """How many are under way."""
        return len(self._transfers)

    def close(self) -> None:
        """Stop, and end the transfers under way."""
        self._deadlines.close()
        self._poller.close()
        for task in self._asking.values():
            task.cancel()
        for transfer in self._transfers.values():
            transfer.close()
        self._sock.close()

    def _requested(self) -> None:
        for _ in range(_REQUESTS_AT_ONCE):
            try:
                datagram, ancillary, _, peer = self._sock.recvmsg(_MOST_REQUEST, 64)
            except BlockingIOError:
                return
            except OSError as err:
                log.debug("tftp_receive_failed", detail=str(err))
                return
            self._counters.count("tftp_requests")
            local = _asked_address(ancillary)
            try:
                self._request(packets.read_request(datagram), peer, local)
            except packets.Malformed as err:
                self._counters.count("tftp_malformed")
                log.debug("tftp_malformed", peer=peer[0], detail=str(err))
            except packets.Refused as err:
                self._refused(err, peer, local)

    def _request(self, request: packets.ReadRequest, peer: Address, local: str) -> None:
        """Start a transfer. Raises Refused."""
        if (known := self._transfers.get(peer)) is not None and not self._wants_another(known, request):
            known.asked_again()
            return
        content = self._files.get(request.name)
        if content is not None:
            self._begin(request, content, peer, local)
        elif self._ask is None:
            raise _not_found(request)
        elif peer not in self._asking:  # else the client is impatient
            self._ask_for(self._ask, request, peer, local)

    def _ask_for(self, ask: Ask, request: packets.ReadRequest, peer: Address, local: str) -> None:
        client = peer[0]
        if len(self._asking) >= _MOST_ASKING or not self._has_place(client):
            self._busy(peer, "too many files are asked for")
            return

        async def asked() -> None:
            try:
                content = await ask(request.name, ip_address(client))
            except Exception:
                # Without an answer the client asks again, and perhaps there is one then.
                log.warning("tftp_not_told", peer=client, file=request.name, exc_info=True)
                return
            finally:
                del self._asking[peer]
                self._leave(client)
            if content is None:
                self._refused(_not_found(request), peer, local)
            else:
                self._begin(request, content, peer, local)

        self._of_client[client] += 1
        self._asking[peer] = asyncio.create_task(asked(), name=f"tftp {request.name} for {client}")

    def _begin(self, request: packets.ReadRequest, content: bytes, peer: Address, local: str) -> None:
        if not self._has_place(peer[0]):
            self._busy(peer, "all places are taken")
            return
        try:
            sock = _connected(self._sock.family, local, peer)
        except OSError as err:  # no descriptor or no port is left, or there is no way back
            self._busy(peer, str(err))
            return
        transfer = Transfer(sock, peer, request, content, self)
        self._transfers[peer] = self._unheard[peer] = transfer
        self._of_client[peer[0]] += 1
        self._poller.add(sock.fileno(), transfer.readable)
        transfer.start()

    def _wants_another(self, known: Transfer, request: packets.ReadRequest) -> bool:
        """Whether a client that has a transfer begins a new one from the same port; the known one is ended then."""
        # The ERROR that OVMF ends the first one with may have come before this, and wait in the other socket.
        known.readable()
        if known.outcome is not None:
            return True
        if known.request == request and monotonic() - known.sender.progress_at < _ANEW_S:
            return False
        if known.request == request and not known.sender.heard:
            return False
        self.ended(known, Outcome.GIVEN_UP if known.sender.heard else Outcome.PROBED)
        return True

    def _has_place(self, client: str) -> bool:
        if self._of_client[client] >= self._settings.most_of_one_client:
            return False
        if len(self._transfers) < self._settings.most_transfers:
            return True
        # A flood of requests that nobody acknowledges displaces only its own.
        oldest = next(iter(self._unheard.values()), None)
        if oldest is None:
            return False
        self.ended(oldest, Outcome.GIVEN_UP)
        return True

    def _busy(self, peer: Address, reason: str) -> None:
        self._counters.count("tftp_busy")
        if monotonic() - self._busy_logged_at >= _BUSY_LOG_S:
            self._busy_logged_at = monotonic()
            log.warning("tftp_busy", peer=peer[0], reason=reason, transfers=len(self._transfers))

    def _refused(self, refused: packets.Refused, peer: Address, local: str) -> None:
        self._counters.count("tftp_refused")
        log.info("tftp_refused", peer=peer[0], reason=str(refused))
        try:
            with _connected(self._sock.family, local, peer) as sock:
                sock.send(packets.error(refused.code, str(refused)))
        except OSError as err:
            self._busy(peer, str(err))

    def _leave(self, client: str) -> None:
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]

    def file(self, transfer: Transfer) -> None:
        """See `Owner`."""
        self._deadlines.file(transfer)

    def heard(self, transfer: Transfer) -> None:
        """See `Owner`."""
        self._unheard.pop(transfer.peer, None)

    def ended(self, transfer: Transfer, outcome: Outcome) -> None:
        """See `Owner`."""
        transfer.outcome = outcome
        self._poller.remove(transfer.fileno())
        transfer.close()
        del self._transfers[transfer.peer]
        self._unheard.pop(transfer.peer, None)
        client, sender = transfer.peer[0], transfer.sender
        self._leave(client)
        self._counters.count(outcome)
        if sender.resent:
            self._counters.count("tftp_retransmits", sender.resent)
        if sender.heard:
            log.info(
                outcome,
                peer=client,
                file=transfer.request.name,
                bytes=sender.acknowledged_bytes,
                seconds=round(monotonic() - transfer.began, 3),
                resent=sender.resent,
            )
        else:
            log.debug(outcome, peer=client, file=transfer.request.name)


def _not_found(request: packets.ReadRequest) -> packets.Refused:
    return packets.Refused(packets.FILE_NOT_FOUND, f"no file {request.name!r} is served here")


@asynccontextmanager
async def serve_tftp(
    settings: TftpSettings, files: Mapping[str, bytes], counters: Counters | None = None, ask: Ask | None = None
) -> AsyncIterator[TftpServer]:
    """Serve `files`, and what `ask` knows, while the block runs. Raises OSError where address or port cannot be had.

    Several processes may listen at one address and port: the kernel gives each client to one of them.
    """
    _allow_descriptors(settings.most_transfers + _OTHER_DESCRIPTORS)
    sock = _listening(settings)
    server = TftpServer(sock, settings, files, Counters() if counters is None else counters, ask)
    try:
        yield server
    finally:
        server.close()


def _listening(settings: TftpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind((settings.listen, settings.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _connected(family: int, local: str, peer: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((local, 0))
        sock.connect(peer)
    except BaseException:
        sock.close()
        raise
    return sock


def _asked_address(ancillary: Sequence[tuple[int, int, bytes]]) -> str:
    """The address that a datagram was sent to (RFC 3542 §6 for IPv6, ip(7) for IPv4), "" where it is not told."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return socket.inet_ntoa(value[4:8])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address, interface = IPv6Address(value[:16]), int.from_bytes(value[16:20], sys.byteorder)
            return f"{address}%{interface}" if address.is_link_local else str(address)
    return ""


def _allow_descriptors(wanted: int) -> None:
    """Many systems give a process 1,024 descriptors and allow it to take far more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

"""Keeps a DNS server's reverse zones as the database says, by signed updates (RFC 2136, RFC 8945).

Level-triggered: what should be is compared with what the server has confirmed, and the difference is sent. A server
that is away is asked again, at longer and longer intervals; nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import binascii
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import dns.asyncquery
import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import structlog

from ipam.reverse import TTL_S, BadName, Zone, check_template
from service.addresses.reverse_zones import Cut, name_of, zones
from service.parts import Parts
from service.settings import BadSetting, Settings
from service.store.rows import Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

_LOOK_S = 5.0
_SHARE = 20  # a look at very many addresses is followed by a pause of so many times its length
_RETRY_S = (5.0, 10.0, 20.0, 60.0, 300.0)
_TIMEOUT_S = 10.0
_AT_ONCE = 10_000  # differences that are read together
_BATCH = 100  # changes in one message, which then stays below 64 KiB whatever the names (RFC 1035 §4.2.2)


class Unreachable(Exception):
    """The server does not answer."""


class Refused(Exception):
    """The server does not want the update."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one address shall be called; `source` is None when it shall be forgotten, `name` when it has no name."""

    address: Any
    source: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class DnsServer:
    """Where updates go, and the key that signs them."""

    host: str
    port: int
    key: dns.tsig.Key | None = field(repr=False)  # its secret is nobody's business

    async def update(self, zone: Zone, changes: Sequence[Change]) -> None:
        """Make the changes, all or none; returns when the server has confirmed them. Raises Unreachable or Refused."""
        message = dns.update.UpdateMessage(f"{zone.name}.", keyring=self.key)
        for change in changes:
            label = dns.name.from_text(zone.label_of(change.address), None)
            if change.name is None:
                message.delete(label, dns.rdatatype.PTR)
            else:
                message.replace(label, TTL_S, "PTR", f"{change.name}.")
        try:
            # TCP: an update is no question, and there is no telling whether a lost datagram was carried out.
            found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            address, port = found[0][4][:2]
            answer = await dns.asyncquery.tcp(message, str(address), timeout=_TIMEOUT_S, port=int(port))
        except (OSError, EOFError, dns.exception.Timeout) as err:
            raise Unreachable(f"{self.host} port {self.port} does not answer: {err or type(err).__name__}") from None
        except dns.exception.DNSException as err:
            raise Refused(f"{self.host} port {self.port}: {err}") from None
        if self.key is not None and not answer.had_tsig:
            raise Refused(
                f"{self.host} port {self.port} answered {dns.rcode.to_text(answer.rcode())} without signature"
            )
        if answer.rcode() != dns.rcode.NOERROR:
            raise Refused(f"{self.host} port {self.port} answered {dns.rcode.to_text(answer.rcode())}")


def dns_server(settings: Settings) -> DnsServer | None:
    """The server that the settings name; None when they name none. Raises BadSetting."""
    if not settings.dns_server:
        return None
    host, colon, port = settings.dns_server.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = settings.dns_server, "53"
    if not port.isdecimal():
        raise BadSetting(f"dns_server: {settings.dns_server!r} is not HOST or HOST:PORT")
    key = None
    if settings.dns_key_name:
        try:
            key = dns.tsig.Key(settings.dns_key_name, settings.dns_key_secret, settings.dns_key_algorithm)
            dns.tsig.get_context(key)  # type: ignore[no-untyped-call]
        except (dns.exception.DNSException, NotImplementedError, binascii.Error) as err:
            raise BadSetting(f"dns_key_name, dns_key_algorithm and dns_key_secret are no key: {err}") from None
    return DnsServer(host.strip("[]"), int(port), key)


async def run_reverse_dns(db: Pool, parts: Parts) -> None:
    """Keep the reverse zones, until cancelled; returns at once when no server is set.

    Any number of processes may run it, one of them works at a time. Raises BadSetting.
    """
    server = dns_server(parts.settings)
    try:
        check_template(parts.settings.ptr_template)
    except BadName as err:
        raise BadSetting(f"ptr_template: {err}") from None
    if server is not None:
        await ReverseDns(db, parts, server).run()


class ReverseDns:
    """One process's share of the work."""

    def __init__(self, db: Pool, parts: Parts, server: DnsServer) -> None:
        self._db = db
        self._parts = parts
        self._server = server
        self._template = parts.settings.ptr_template
        self._refused: dict[str, tuple[int, datetime]] = {}  # by zone: how often, and when it is tried again
        self._failures = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            began = monotonic()
            try:
                await self.look()
                self._failures = 0
            except Unreachable as err:
                self._failures += 1
                log.warning("reverse_dns_unreachable", error=str(err), failures=self._failures)
            except Exception:
                self._failures += 1
                log.exception("reverse_dns_error", failures=self._failures)
            pause = max(_LOOK_S, _SHARE * (monotonic() - began))
            if self._failures:
                pause = self._again_in(self._failures)
            await self._parts.clock.sleep(pause)

    async def look(self) -> None:
        """Send what is different now, unless another process is at it. Raises Unreachable."""
        async with self._db.acquire() as conn:
            if not await conn.fetchval(Q["lock_reverse_dns"]):
                return
            cuts: list[Cut] = []
            try:
                cuts = await zones(conn)
                await conn.execute(Q["forget_ended_ptrs"])
                await conn.execute(Q["reverse_zones_gone"], [cut.zone.name for cut in cuts])
                for cut in cuts:
                    await self._keep(conn, cut)
                fine = [cut.zone.name for cut in cuts if cut.zone.name not in self._refused]
                await conn.execute(Q["reverse_zones_fine"], fine)
            except Unreachable as err:
                now = self._parts.clock.now()
                await conn.execute(Q["reverse_zones_tried"], [cut.zone.name for cut in cuts], str(err), now)
                raise
            finally:
                await conn.execute(Q["unlock_reverse_dns"])

    async def _keep(self, conn: Connection, cut: Cut) -> None:
        name, now = cut.zone.name, self._parts.clock.now()
        times, again_at = self._refused.get(name, (0, now))
        if now < again_at:
            return
        try:
            changed = await self._send(conn, cut)
        except Refused as err:
            # The other zones must not suffer from one that the server does not have.
            pause = timedelta(seconds=self._again_in(times + 1))
            self._refused[name] = (times + 1, now + pause)
            await conn.execute(Q["reverse_zones_tried"], [name], str(err), now)
            log.warning("reverse_dns_refused", zone=name, error=str(err), times=times + 1)
            return
        self._refused.pop(name, None)
        if changed:
            await conn.execute(Q["reverse_zones_tried"], [name], None, self._parts.clock.now())
            log.info("reverse_dns_updated", zone=name, changes=changed)

    async def _send(self, conn: Connection, cut: Cut) -> int:
        name, changed = cut.zone.name, 0
        while True:
            rows = await conn.fetch(
                Q["reverse_differences"], cut.vrf_id, cut.zone.network, self._template, name, _AT_ONCE
            )
            if not rows:
                return changed
            changes = [Change(row["address"], row["source"], name_of(row, self._template)) for row in rows]
            for place in range(0, len(changes), _BATCH):
                # No transaction is open while the server is talked to; what is confirmed twice is confirmed.
                batch = changes[place : place + _BATCH]
                await self._server.update(cut.zone, batch)
                await self._confirmed(conn, name, batch)
            changed += len(changes)

    async def _confirmed(self, conn: Connection, zone: str, batch: Sequence[Change]) -> None:
        there = [change for change in batch if change.source is not None]
        async with conn.transaction():
            await conn.execute(
                Q["reverse_confirmed"],
                zone,
                [change.address for change in there],
                [change.source for change in there],
                [change.name for change in there],
                self._parts.clock.now(),
            )
            gone = [change.address for change in batch if change.source is None]
            await conn.execute(Q["reverse_removed"], zone, gone)

    def _again_in(self, times: int) -> float:
        return self._parts.jitter.around(_RETRY_S[min(times, len(_RETRY_S)) - 1])

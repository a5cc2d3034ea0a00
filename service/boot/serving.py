"""The boot node: DHCP, TFTP, HTTP boot, metadata and agents at one address, all fed from one index."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import asyncpg
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from pxe.counters import Counters
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.dhcp6.answer import server_duid
from pxe.dhcp6.server import Dhcp6Settings, serve_dhcp6
from pxe.first_stage import collect_first_stages
from pxe.grub import SERVICE_FILE, service_file
from pxe.grub_files import GrubFiles
from pxe.http import HttpSettings, boot_routes
from pxe.http_server import TAKES_BODY, serve_http
from pxe.http_source import TRUSTED_PROXIES
from pxe.ipxe import Unsafe
from pxe.nginx import ACCEL_LOCATION
from pxe.pacing import Rates
from pxe.router_advert import Advert, serve_router_advert
from pxe.tftp.files import load_files
from pxe.tftp.server import TftpSettings, serve_tftp
from service.agents import SINK, Agents
from service.boot.decider import BootDecider
from service.boot.feed import BootFeed
from service.boot.index import BootIndex
from service.boot.node import run_boot_node
from service.boot.scripts import BootScripts
from service.boot.sightings import Sightings
from service.metadata.routes import Metadata
from service.mirror.routes import Mirror, open_mirror
from service.native.heard import InstallersHeard
from service.native.routes import NativeInstalls
from service.parts import Parts
from service.settings import BadSetting, listed
from service.store.notify import Hub
from service.store.rows import Pool

log = structlog.get_logger()

_INDEX_PATIENCE_S = 30.0  # at the start; without the database nobody is known yet, and silence is right
_DUID_NAME = "roundhouse"  # all boot nodes are one DHCPv6 server to their clients


@dataclass(frozen=True, slots=True)
class _Node:
    """What the servers of one boot node share."""

    db: Pool
    parts: Parts
    index: BootIndex
    scripts: BootScripts
    sightings: Sightings
    files: Mapping[str, bytes]
    counters: Counters

    def rack_of(self, client: IPv4Address | IPv6Address) -> str | None:
        """Whose uplink a client shares with others: its leaf's."""
        facts = self.index.at(client)
        return None if facts is None else facts.leaf


@asynccontextmanager
async def boot_node(
    db: Pool, database_url: str, parts: Parts, hub: Hub, tasks: asyncio.TaskGroup, sockets: Sequence[socket.socket]
) -> AsyncIterator[None]:
    """Answer machines while the block runs. `sockets` listen for HTTP; the other protocols open their own.

    Raises OSError where an address or a port cannot be had, BadSetting where boot_url is none that every boot loader
    can use, and TimeoutError where the database does not answer.
    """
    first_stage = parts.settings.state_dir / "first-stage"
    await asyncio.to_thread(collect_first_stages, first_stage, parts.images.first_stages)
    try:
        files = load_files(first_stage) | {SERVICE_FILE: service_file(parts.boot_url)}
    except Unsafe as err:
        raise BadSetting(f"boot_url: {err}; allowed is http://HOST or http://HOST:PORT") from None
    feed = BootFeed(database_url, BootIndex(), parts.clock)
    sightings = Sightings(db, parts.clock)
    scripts = BootScripts(db, parts, feed.index, sightings.saw)
    node = _Node(db, parts, feed.index, scripts, sightings, files, Counters())
    background = [
        tasks.create_task(feed.run(), name="boot feed"),
        tasks.create_task(node.sightings.run(), name="sightings"),
        tasks.create_task(run_boot_node(db, feed, node.counters, parts.settings.boot_host), name="boot node"),
    ]
    try:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_INDEX_PATIENCE_S):
                await feed.ready.wait()
            heard = InstallersHeard(db, parts, feed.index).asked
            mirror = await stack.enter_async_context(open_mirror(parts, node.counters, heard))
            await stack.enter_async_context(serve_http(_application(node, hub, mirror), sockets))
            await _serve_protocols(stack, node)
            yield
    finally:
        for task in background:
            task.cancel()


def _application(node: _Node, hub: Hub, mirror: Mirror) -> web.Application:
    parts, settings = node.parts, node.parts.settings
    app = web.Application(client_max_size=1 << 20, middlewares=[_without_database])
    app[TAKES_BODY] = frozenset({SINK})
    app[TRUSTED_PROXIES] = frozenset(ip_address(name) for name in listed(settings.trusted_proxies))
    http = HttpSettings(
        Rates(settings.machine_rate, settings.rack_rate), accel_location=ACCEL_LOCATION if settings.nginx_images else ""
    )
    app.add_routes(
        boot_routes(
            node.scripts.script_for, node.files, parts.images.files, http, rack_of=node.rack_of, counters=node.counters
        )
    )
    app.add_routes(Agents(node.db, parts, hub, node.sightings.saw).routes())
    app.add_routes(Metadata(node.db, parts).routes())
    app.add_routes(mirror.routes())
    app.add_routes(NativeInstalls(node.db, parts).routes())
    return app


async def _serve_protocols(stack: AsyncExitStack, node: _Node) -> None:
    parts, settings, counters = node.parts, node.parts.settings, node.counters
    decider = BootDecider(
        node.index,
        boot_url=parts.boot_url,
        boot_url6=parts.boot_url6,
        nameservers=listed(settings.nameservers),
        saw=node.sightings.saw,
    )
    server, links = IPv4Address(settings.boot_host), tuple(listed(settings.boot_interfaces))
    dhcp = DhcpSettings(
        # Whoever is to hear broadcasts on a link has to listen at all addresses.
        listen="0.0.0.0" if links else settings.boot_host,
        port=settings.dhcp_port,
        relay_port=settings.dhcp_relay_port,
        server_id=server,
        tftp_server=server,
        http_url=parts.boot_url,
    )
    await stack.enter_async_context(
        serve_dhcp(dhcp, decider.decide, counters=counters, declined=node.sightings.declined)
    )
    tftp = TftpSettings(listen=settings.boot_host, port=settings.tftp_port)
    # A GRUB that has no HTTP asks for everything by TFTP.
    ask = GrubFiles(node.scripts.script_for, parts.images.files)
    await stack.enter_async_context(serve_tftp(tftp, node.files, counters, ask))
    if parts.boot_url6 is not None:
        dhcp6 = Dhcp6Settings(
            listen=settings.boot_host6,
            duid=server_duid(_DUID_NAME),
            tftp_server=IPv6Address(settings.boot_host6),
            http_url=parts.boot_url6,
            interfaces=links,
        )
        await stack.enter_async_context(
            serve_dhcp6(dhcp6, decider.decide6, counters=counters, declined=node.sightings.declined6)
        )
        tftp6 = TftpSettings(listen=settings.boot_host6, port=settings.tftp_port)
        await stack.enter_async_context(serve_tftp(tftp6, node.files, counters, ask))
    by_dhcp = Advert(managed=parts.boot_url6 is not None, other=parts.boot_url6 is not None)
    for link in links:  # a leaf answers for itself; on our own links nobody else would, and iPXE waits for it
        await stack.enter_async_context(serve_router_advert(link, lambda: by_dhcp))


@web.middleware
async def _without_database(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Agents and installed systems ask again by themselves; they are told that it is worth while."""
    try:
        return await handler(request)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as err:
        log.warning("boot_call_waits", path=request.path, reason=str(err) or type(err).__name__)
        body = {"errors": ["the database is away; ask again"]}
        return web.json_response(body, status=503, headers={"Retry-After": "2"})

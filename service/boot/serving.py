"""The boot node: DHCP, TFTP, HTTP boot, metadata and agents at one address, all fed from one index."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address

import asyncpg
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from pxe.counters import Counters
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.first_stage import collect_first_stages
from pxe.http import boot_routes
from pxe.tftp.server import TftpSettings, load_files, serve_tftp
from service.agents import Agents
from service.boot.decider import BootDecider
from service.boot.feed import BootFeed
from service.boot.index import BootIndex
from service.boot.node import run_boot_node
from service.boot.scripts import BootScripts
from service.boot.sightings import Sightings
from service.metadata.routes import Metadata
from service.parts import Parts
from service.store.notify import Hub
from service.store.rows import Pool

log = structlog.get_logger()

_INDEX_PATIENCE_S = 30.0  # at the start; without the database nobody is known yet, and silence is right


@asynccontextmanager
async def boot_node(
    db: Pool, database_url: str, parts: Parts, hub: Hub, tasks: asyncio.TaskGroup, sockets: Sequence[socket.socket]
) -> AsyncIterator[None]:
    """Answer machines while the block runs. `sockets` listen for HTTP; the other protocols open their own.

    Raises OSError where an address or a port cannot be had.
    """
    settings = parts.settings
    first_stage = settings.state_dir / "first-stage"
    await asyncio.to_thread(collect_first_stages, first_stage)
    files = load_files(first_stage)
    counters = Counters()
    feed = BootFeed(database_url, BootIndex(), parts.clock)
    sightings = Sightings(db, parts.clock)
    background = [
        tasks.create_task(feed.run(), name="boot feed"),
        tasks.create_task(sightings.run(), name="sightings"),
        tasks.create_task(run_boot_node(db, feed, counters, settings.boot_host), name="boot node"),
    ]
    try:
        async with AsyncExitStack() as stack:
            await asyncio.wait_for(feed.ready.wait(), _INDEX_PATIENCE_S)
            await _serve_http(stack, db, parts, hub, feed.index, sightings, files, counters, sockets)
            await _serve_protocols(stack, parts, feed.index, sightings, files, counters)
            yield
    finally:
        for task in background:
            task.cancel()


async def _serve_http(
    stack: AsyncExitStack,
    db: Pool,
    parts: Parts,
    hub: Hub,
    index: BootIndex,
    sightings: Sightings,
    files: Mapping[str, bytes],
    counters: Counters,
    sockets: Sequence[socket.socket],
) -> None:
    app = web.Application(client_max_size=1 << 20, middlewares=[_without_database])
    scripts = BootScripts(db, parts, index)
    app.add_routes(boot_routes(scripts.script_for, files, parts.images.files, counters=counters))
    app.add_routes(Agents(db, parts, hub, sightings.saw).routes())
    app.add_routes(Metadata(db, parts).routes())
    await serve_app(stack, app, sockets)


async def _serve_protocols(
    stack: AsyncExitStack,
    parts: Parts,
    index: BootIndex,
    sightings: Sightings,
    files: Mapping[str, bytes],
    counters: Counters,
) -> None:
    settings = parts.settings
    server = IPv4Address(settings.boot_host)
    dhcp = DhcpSettings(
        listen=settings.boot_host,
        port=settings.dhcp_port,
        relay_port=settings.dhcp_relay_port,
        server_id=server,
        tftp_server=server,
        http_url=parts.boot_url,
    )
    decider = BootDecider(
        index,
        boot_url=parts.boot_url,
        boot_url6=parts.boot_url6,
        nameservers=settings.nameservers.split(","),
        saw=sightings.saw,
    )
    await stack.enter_async_context(serve_dhcp(dhcp, decider.decide))
    tftp = TftpSettings(listen=settings.boot_host, port=settings.tftp_port)
    await stack.enter_async_context(serve_tftp(tftp, files))


@web.middleware
async def _without_database(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Agents and installed systems ask again by themselves; they are told that it is worth while."""
    try:
        return await handler(request)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as err:
        log.warning("boot_call_waits", path=request.path, reason=str(err) or type(err).__name__)
        body = {"errors": ["the database is away; ask again"]}
        return web.json_response(body, status=503, headers={"Retry-After": "2"})


async def serve_app(stack: AsyncExitStack, app: web.Application, sockets: Sequence[socket.socket]) -> None:
    """Serve an application on listening sockets until the stack is closed."""
    # Long polls would hold the shutdown up; their clients ask again.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for sock in sockets:
        await web.SockSite(runner, sock).start()

"""Everything is put together here: what the process is made of, opened and closed by the block that opened it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

import asyncpg
import structlog
from aiohttp import web

from images.catalogue import load_catalogue
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.first_stage import collect_first_stages
from pxe.http import boot_routes
from pxe.tftp.server import TftpSettings, load_files, serve_tftp
from service.addresses.dns_updates import run_reverse_dns
from service.admin.routes import Operations
from service.agents import Agents
from service.api.app import make_api
from service.artefacts import Artefacts
from service.boot import BootDecider
from service.clock import Jitter, WallClock
from service.leaves.actor import run_leaf_actors
from service.metadata.routes import Metadata
from service.parts import Parts
from service.power.redfish import Redfish
from service.prove import see_host_key
from service.secrets import load_key
from service.settings import Settings
from service.store.notify import Hub
from service.store.rows import Pool, open_pool
from service.worker import Worker
from service.workflow import Workflow
from service.workflows.power import POWER
from service.workflows.prepare import PREPARE
from service.workflows.provision import PROVISION, REINSTALL
from sql.migrate import migrate

log = structlog.get_logger()

WORKFLOWS: Mapping[str, Workflow] = {workflow.name: workflow for workflow in (PROVISION, PREPARE, REINSTALL, POWER)}

_POOL = 24  # connections: more do not make two cores faster


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, for whoever started it in this process."""

    db: Pool
    parts: Parts
    hub: Hub
    worker: Worker
    api_port: int
    boot_port: int


def make_parts(settings: Settings, *, boot_port: int) -> Parts:
    """The process's share of the outside world."""
    return Parts(
        settings=settings,
        clock=WallClock(),
        jitter=Jitter(Random()),
        catalogue=load_catalogue(),
        images=Artefacts(Path(settings.images_dir or settings.state_dir / "images")),
        boot_url=f"http://{settings.boot_host}:{boot_port}",
        key=load_key(settings.state_dir),
        open_bmc=Redfish,
        see_host_key=see_host_key,
    )


def listening(host: str, port: int) -> socket.socket:
    """A TCP socket that listens; made early where the process is going to leave its network namespace."""
    return socket.create_server((host, port), backlog=1024, reuse_port=False)


async def migrate_database(url: str) -> None:
    """Bring the database to this program's schema."""
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
    finally:
        await conn.close()


async def _serve_app(stack: AsyncExitStack, app: web.Application, sockets: Sequence[socket.socket]) -> None:
    # Long polls would hold the shutdown up; their clients ask again.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for sock in sockets:
        await web.SockSite(runner, sock).start()


def _boot_app(service: Service, first_stage: Path) -> web.Application:
    parts = service.parts
    decider = BootDecider(service.db, parts)
    app = web.Application(client_max_size=1 << 20)
    app.add_routes(boot_routes(decider.script_for, load_files(first_stage), parts.images.files))
    app.add_routes(Agents(service.db, parts, service.hub).routes())
    app.add_routes(Metadata(service.db, parts).routes())
    return app


@asynccontextmanager
async def service(
    settings: Settings,
    database_url: str,
    *,
    api_sockets: Sequence[socket.socket] = (),
    workflows: Mapping[str, Workflow] = WORKFLOWS,
) -> AsyncIterator[Service]:
    """Run the whole service while the block runs; an essential task that dies ends the block with its error."""
    try:
        async with _service(settings, database_url, api_sockets, workflows) as running:
            yield running
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


@asynccontextmanager
async def _service(
    settings: Settings, database_url: str, api_sockets: Sequence[socket.socket], workflows: Mapping[str, Workflow]
) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        api_sockets = api_sockets or [listening(settings.api_host, settings.api_port)]
        boot_socket = listening(settings.boot_host, settings.boot_port)
        for sock in (*api_sockets, boot_socket):
            stack.callback(sock.close)
        await migrate_database(database_url)
        db = await open_pool(database_url, size=_POOL)
        stack.callback(db.terminate)
        hub = Hub(database_url)
        parts = make_parts(settings, boot_port=boot_socket.getsockname()[1])
        worker = Worker(db, parts, workflows)
        running = Service(db, parts, hub, worker, api_sockets[0].getsockname()[1], boot_socket.getsockname()[1])
        first_stage = settings.state_dir / "first-stage"
        if missing := collect_first_stages(first_stage):
            log.warning("first_stage_missing", files=missing, folder=str(first_stage), package="ipxe")
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [
            tasks.create_task(hub.run(), name="hub"),
            tasks.create_task(worker.run(), name="worker"),
            tasks.create_task(run_leaf_actors(db, parts, hub), name="leaves"),
            tasks.create_task(run_reverse_dns(db, parts), name="reverse dns"),
        ]
        api = make_api(db, settings, parts.catalogue, parts.clock, hub)
        Operations(db, parts).add_routes(api)
        await _serve_app(stack, api, api_sockets)
        await _serve_app(stack, _boot_app(running, first_stage), [boot_socket])
        await _serve_boot_protocols(stack, settings, running, first_stage)
        log.info("service_ready", api_port=running.api_port, boot_port=running.boot_port)
        try:
            yield running
        finally:
            worker.stop()
            for task in background:
                task.cancel()


async def _serve_boot_protocols(stack: AsyncExitStack, settings: Settings, running: Service, first_stage: Path) -> None:
    server = IPv4Address(settings.boot_host)
    dhcp = DhcpSettings(
        listen=settings.boot_host,
        port=settings.dhcp_port,
        relay_port=settings.dhcp_relay_port,
        server_id=server,
        tftp_server=server,
        http_url=running.parts.boot_url,
    )
    decider = BootDecider(running.db, running.parts)
    await stack.enter_async_context(serve_dhcp(dhcp, decider.decide))  # type: ignore[arg-type]
    tftp = TftpSettings(listen=settings.boot_host, port=settings.tftp_port)
    await stack.enter_async_context(serve_tftp(tftp, load_files(first_stage)))

"""Everything is put together here: what the process is made of, opened and closed by the block that opened it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import asyncpg
import structlog
from aiohttp import web

from images.catalogue import load_catalogue
from service.addresses.dns_updates import run_reverse_dns
from service.api.app import make_api
from service.artefacts import Artefacts
from service.boot.serving import boot_node
from service.clock import Jitter, WallClock
from service.due import run_due
from service.hooks.running import run_hooks
from service.key_rotation import run_rotation
from service.leaves.actor import run_leaf_actors
from service.parts import OpenUpstream, Parts
from service.prove import see_host_key
from service.releases.rollouts import run_rollouts
from service.releases.upkeep import run_upkeep
from service.secrets import load_keys
from service.settings import Settings, image_keys_of, images_of
from service.sos.server import serve_consoles
from service.store.notify import Hub
from service.store.rows import Pool, open_pool
from service.worker import Worker
from service.workflow import Workflow
from service.workflows.burn_in import BURN_IN, FIRMWARE
from service.workflows.leaving import RETIRE, RETIRE_AT_ONCE
from service.workflows.newcomer import NEWCOMER
from service.workflows.power import POWER
from service.workflows.prepare import PREPARE
from service.workflows.provision import PROVISION, REINSTALL
from service.workflows.rescue import RESCUE, SSH
from sql.migrate import migrate

log = structlog.get_logger()

ROLES = ("api", "worker", "boot")  # what a process may be; all of them unless it is told

_WORKFLOWS = (PROVISION, PREPARE, REINSTALL, POWER, BURN_IN, FIRMWARE, RESCUE, SSH, NEWCOMER, RETIRE, RETIRE_AT_ONCE)
WORKFLOWS: Mapping[str, Workflow] = {workflow.name: workflow for workflow in _WORKFLOWS}

_POOL = 24  # connections: more do not make two cores faster


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, for whoever started it in this process. Ports are 0 and the worker idle in other roles."""

    db: Pool
    parts: Parts
    hub: Hub
    worker: Worker
    api_port: int
    boot_port: int


def make_parts(settings: Settings, *, boot_port: int, upstream: OpenUpstream = aiohttp.TCPConnector) -> Parts:
    """The process's share of the outside world."""
    return Parts(
        settings=settings,
        clock=WallClock(),
        jitter=Jitter(Random()),
        catalogue=load_catalogue(),
        images=Artefacts(images_of(settings), image_keys_of(settings)),
        boot_url=settings.boot_url.rstrip("/") or f"http://{settings.boot_host}:{boot_port}",
        boot_url6=f"http://[{settings.boot_host6}]:{boot_port}" if settings.boot_host6 else None,
        key=load_keys(settings.state_dir),
        see_host_key=see_host_key,
        upstream=upstream,
    )


def listening(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A TCP socket that listens; made early where the process is going to leave its network namespace.

    `shared`: other processes of this user may listen there too, and the kernel spreads the connections over them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024, reuse_port=shared)


async def migrate_database(url: str) -> None:
    """Bring the database to this program's schema."""
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
    finally:
        await conn.close()


@asynccontextmanager
async def service(
    settings: Settings,
    database_url: str,
    *,
    api_sockets: Sequence[socket.socket] = (),
    console_sockets: Sequence[socket.socket] = (),
    workflows: Mapping[str, Workflow] = WORKFLOWS,
    roles: Collection[str] = ROLES,
    upstream: OpenUpstream = aiohttp.TCPConnector,
) -> AsyncIterator[Service]:
    """Run these roles while the block runs; an essential task that dies ends the block with its error."""
    try:
        async with _service(
            settings, database_url, api_sockets, console_sockets, workflows, roles, upstream
        ) as running:
            yield running
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


def _boot_sockets(settings: Settings, stack: AsyncExitStack) -> list[socket.socket]:
    """One for each address family, at one port."""
    first = listening(settings.boot_host, settings.boot_port, shared=True)
    stack.callback(first.close)
    if not settings.boot_host6:
        return [first]
    second = listening(settings.boot_host6, first.getsockname()[1], shared=True)
    stack.callback(second.close)
    return [first, second]


@asynccontextmanager
async def _service(
    settings: Settings,
    database_url: str,
    api_sockets: Sequence[socket.socket],
    console_sockets: Sequence[socket.socket],
    workflows: Mapping[str, Workflow],
    roles: Collection[str],
    upstream: OpenUpstream,
) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        if "api" in roles and not api_sockets:
            api_sockets = [listening(settings.api_host, settings.api_port)]
        if "api" in roles and settings.sos_port and not console_sockets:
            console_sockets = [listening(settings.sos_host, settings.sos_port)]
        for sock in (*api_sockets, *console_sockets):
            stack.callback(sock.close)
        boot_sockets = _boot_sockets(settings, stack) if "boot" in roles else []
        boot_port = boot_sockets[0].getsockname()[1] if boot_sockets else settings.boot_port
        await migrate_database(database_url)
        db = await open_pool(database_url, size=_POOL)
        stack.callback(db.terminate)
        hub = Hub(database_url)
        parts = make_parts(settings, boot_port=boot_port, upstream=upstream)
        worker = Worker(db, parts, workflows)
        api_port = api_sockets[0].getsockname()[1] if api_sockets else 0
        running = Service(db, parts, hub, worker, api_port, boot_port)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [tasks.create_task(hub.run(), name="hub")]
        if "worker" in roles:
            background += [tasks.create_task(work, name=name) for name, work in _work(running, hub)]
        if {"worker", "boot"} & set(roles):
            background.append(tasks.create_task(run_upkeep(db, parts), name="image store"))
        if "api" in roles:
            await _serve_app(stack, make_api(db, parts, hub), api_sockets)
            if console_sockets:
                await stack.enter_async_context(serve_consoles(db, parts, hub, tasks, console_sockets))
        if "boot" in roles:
            await stack.enter_async_context(boot_node(db, database_url, parts, hub, tasks, boot_sockets))
        log.info("service_ready", roles=sorted(roles), api_port=running.api_port, boot_port=running.boot_port)
        try:
            yield running
        finally:
            worker.stop()
            for task in background:
                task.cancel()


async def _serve_app(stack: AsyncExitStack, app: web.Application, sockets: Sequence[socket.socket]) -> None:
    # Long polls would hold the shutdown up; their clients ask again.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for sock in sockets:
        await web.SockSite(runner, sock).start()


def _work(running: Service, hub: Hub) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """What a worker does, by name."""
    yield "worker", running.worker.run()
    yield "leaves", run_leaf_actors(running.db, running.parts, hub)
    yield "rollouts", run_rollouts(running.db, running.parts)
    yield "key rotation", run_rotation(running.db, running.parts)
    yield "hooks", run_hooks(running.db, running.parts, hub)
    yield "reverse dns", run_reverse_dns(running.db, running.parts)
    yield "due", run_due(running.db, running.parts, hub)

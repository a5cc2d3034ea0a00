"""`roundhouse serve`: the whole service in one process, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager

from images.catalogue import load_catalogue
from pxe.priority import answer_first
from service.log import configure_log
from service.seed import seed
from service.settings import BadSetting, Settings, read_settings
from service.store.embedded import PostgresNotStarted, embedded_postgres
from service.store.rows import open_pool
from service.wiring import ROLES, migrate_database, service
from sql.loader import Q


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options; every setting also has its environment variable."""
    parser.add_argument("--role", action="append", choices=ROLES, help="be this only; may be given again; default: all")
    parser.add_argument("--api-host", help="address of the API and the console")
    parser.add_argument("--api-port", type=int, help="port of the API and the console")
    parser.add_argument("--boot-host", help="address for DHCP, TFTP, HTTP boot, metadata and agents")
    parser.add_argument("--boot-port", type=int, help="port for HTTP boot, metadata and agents")
    parser.add_argument("--state-dir", help="embedded database, images and the key file")
    parser.add_argument("--database-url", help="a PostgreSQL of one's own instead of the embedded one")


@contextmanager
def database(settings: Settings, *, durable: bool = True) -> Iterator[str]:
    """The URL of the given server, or of an embedded one that runs while the block runs."""
    if settings.database_url:
        yield settings.database_url
        return
    with embedded_postgres(settings.state_dir / "postgresql", durable=durable) as url:
        yield url


def run_until_stopped(main: Coroutine[None, None, int]) -> int:
    """Run `main` to its exit code; SIGTERM and SIGINT cancel it, which lets every block close what it opened."""

    async def guarded() -> int:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            return await main
        except asyncio.CancelledError:
            if stopped:
                return 0
            raise

    return asyncio.run(guarded())


async def for_ever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


async def seeded(database_url: str, token: str | None) -> str | None:
    """Fill an empty installation; returns the staff token when one was made now."""
    await migrate_database(database_url)
    db = await open_pool(database_url, size=2)
    try:
        async with db.acquire() as conn, conn.transaction():
            slugs = [entry.slug for entry in load_catalogue()]
            await conn.execute(Q["seed_operating_systems"], slugs)  # the catalogue may have grown since
            if token is None and await conn.fetchval(Q["any_token"]):
                return None
            made = token or secrets.token_urlsafe(24)
            await seed(conn, token=made, operating_systems=slugs)
            return made
    finally:
        db.terminate()


async def _serve(settings: Settings, database_url: str, roles: Collection[str]) -> int:
    token = await seeded(database_url, os.environ.get("ROUNDHOUSE_TOKEN"))
    if token is not None:
        print(f"first start: the staff token is {token}", file=sys.stderr)
    if set(roles) == {"boot"}:
        answer_first()
    async with service(settings, database_url, roles=roles) as running:
        if "api" in roles:
            print(f"API http://{settings.api_host}:{running.api_port}  console /console/", file=sys.stderr)
        if "boot" in roles:
            print(f"DHCP, TFTP and {running.parts.boot_url} for machines", file=sys.stderr)
        await for_ever()
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM; the exit code."""
    given = {name: getattr(arguments, name) for name in ("api_host", "api_port", "boot_host", "boot_port", "state_dir")}
    try:
        settings = read_settings(**given, database_url=arguments.database_url)
        configure_log(settings.log_level)
        with database(settings) as url:
            return run_until_stopped(_serve(settings, url, arguments.role or ROLES))
    except (BadSetting, PostgresNotStarted, OSError) as err:
        print(f"roundhouse serve: {err}", file=sys.stderr)
        return 1

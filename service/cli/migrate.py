"""`roundhouse migrate`: bring the database to this program's schema."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace

import asyncpg

from service.cli.serve import database
from service.settings import BadSetting, read_settings
from service.store.embedded import PostgresNotStarted
from sql.migrate import MigrationChanged, migrate


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `roundhouse migrate`."""
    parser.add_argument("--database-url", metavar="URL", help="default: ROUNDHOUSE_DATABASE_URL, else the embedded one")


async def _migrate(url: str) -> list[str]:
    conn = await asyncpg.connect(url)
    try:
        return await migrate(conn)
    finally:
        await conn.close()


def run(args: Namespace) -> int:
    """Apply what is missing; 0 also when nothing is."""
    try:
        settings = read_settings(database_url=args.database_url)
        with database(settings) as url:
            done = asyncio.run(_migrate(url))
    except (BadSetting, MigrationChanged, PostgresNotStarted, OSError, asyncpg.PostgresError) as err:
        print(f"roundhouse: migrate: {err}", file=sys.stderr)
        return 1
    print("\n".join(f"applied {title}" for title in done) if done else "nothing to apply")
    return 0

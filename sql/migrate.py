"""Numbered migrations, applied once each, in order, by one process at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import asyncpg
from pgqueuer.queries import Queries

_LOCK = 0x726F756E64  # "round": one advisory lock for the schema of one database
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number      int PRIMARY KEY,
    title       text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationChanged(RuntimeError):
    """A migration that was applied has another content now."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `NNNN_title.sql`."""

    number: int
    title: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations that this program brings, in order."""
    found = []
    for file in (files("sql") / "migrations").iterdir():
        number, _, title = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found.append(Migration(int(number), title, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(conn: asyncpg.Connection) -> list[str]:
    """Bring the database to this program's schema; returns the titles applied now.

    Several processes may call it at once: the others wait. Raises MigrationChanged when an applied file was edited.
    """
    await conn.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await conn.execute(_LEDGER)
        applied = {row["number"]: row["checksum"] for row in await conn.fetch("SELECT * FROM schema_migration")}
        done = []
        for migration in migrations():
            if (seen := applied.get(migration.number)) is None:
                async with conn.transaction():
                    await conn.execute(migration.text)
                    await conn.execute(
                        "INSERT INTO schema_migration (number, title, checksum) VALUES ($1, $2, $3)",
                        migration.number,
                        migration.title,
                        migration.checksum,
                    )
                done.append(migration.title)
            elif seen != migration.checksum:
                raise MigrationChanged(f"{migration.number:04} {migration.title}")
        queue = Queries.from_asyncpg_connection(conn)
        if not await queue.schema_is_installed():
            await queue.install()
        else:
            await queue.apply_upgrade()
        return done
    finally:
        await conn.execute("SELECT pg_advisory_unlock($1)", _LOCK)

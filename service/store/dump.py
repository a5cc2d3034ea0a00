"""`python -m service.store.dump`: the schema that all migrations together make, for sql/schema.sql."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from service.store.embedded import binaries, embedded_postgres
from service.wiring import migrate_database

# What pg_dump writes about itself and its session, some of it new each time.
_NOISE = ("--", "SET ", "SELECT pg_catalog.", "\\")
_TOLD = ("CREATE TABLE", "CREATE UNIQUE", "CREATE INDEX", "ALTER TABLE")


def dump(database_url: str) -> str:
    """The schema as pg_dump tells it, without the queue's own tables. Raises CalledProcessError."""
    told = subprocess.run(
        [binaries() / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", "-T", "pgqueuer*", database_url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # The queue's types and functions are pgqueuer's to describe.
    paragraphs = "\n".join(line for line in told.splitlines() if not line.startswith(_NOISE)).split(";\n")
    kept = [paragraph.strip() for paragraph in paragraphs if paragraph.strip() and "pgqueuer" not in paragraph]
    kept = [
        paragraph
        for paragraph in kept
        if paragraph.startswith(("CREATE TABLE", "CREATE UNIQUE", "CREATE INDEX", "ALTER TABLE"))
    ]
    return "-- Made from the migrations by `make docs`; do not edit.\n\n" + ";\n\n".join(kept) + ";\n"


def main() -> int:
    """Print the dump of a fresh database."""
    with tempfile.TemporaryDirectory(prefix="roundhouse-dump-") as folder:
        Path(folder).chmod(0o755)
        with embedded_postgres(Path(folder) / "pg", durable=False) as url:
            asyncio.run(migrate_database(url))
            sys.stdout.write(dump(url))
    return 0


if __name__ == "__main__":
    sys.exit(main())

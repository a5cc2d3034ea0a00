"""The real PostgreSQL for every test that wants one: a migrated template once, a database of its own per test.

ROUNDHOUSE_TEST_DATABASE_URL names a server to use instead of the embedded one; its user must be allowed to create
databases.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from service.log import for_people
from service.store.embedded import embedded_postgres
from service.store.rows import Pool, open_pool
from sql.migrate import migrate

# How long an example takes, or is drawn, says something of the machine and of what else runs there. Examples that
# share a fixture share it on purpose. The gate judges a change by the same examples each time; everywhere else they are
# new ones.
settings.register_profile(
    "roundhouse",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("roundhouse")

# The tests' log is of the service's own form.
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], for_people()])

_numbers = count(1)
_RESOLVER = Path("/etc/resolv.conf")
_MEMORY = Path("/dev/shm")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def resolver_untouched() -> Iterator[None]:
    """A client that sets up more than its namespace takes the name service of the whole machine away."""
    before = _RESOLVER.read_bytes() if _RESOLVER.exists() else None
    yield
    after = _RESOLVER.read_bytes() if _RESOLVER.exists() else None
    if before is not None and after != before:
        _RESOLVER.write_bytes(before)
    assert after == before


def database_on(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def _execute(url: str, statement: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


async def _migrate(url: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
    finally:
        await conn.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server: the given one, or the embedded one in a folder that goes away again."""
    if given := os.environ.get("ROUNDHOUSE_TEST_DATABASE_URL"):
        yield given
        return
    # In memory where that can be: a database a test means many thousand files that live for a second.
    folder = Path(tempfile.mkdtemp(prefix="roundhouse-test-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    folder.chmod(0o755)  # as root, the server runs as a user of its own, which must get in
    try:
        with embedded_postgres(folder / "pg", durable=False) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database that has the whole schema and no rows."""
    name = f"roundhouse_template_{uuid4().hex[:12]}"
    with asyncio.Runner() as runner:
        runner.run(_execute(postgres_url, f"CREATE DATABASE {name}"))
        runner.run(_migrate(database_on(postgres_url, name)))
    yield name
    with asyncio.Runner() as runner:
        runner.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A fresh database with the whole schema, for one test."""
    name = f"{template}_{next(_numbers)}"
    await _execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield database_on(postgres_url, name)
    await _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Pool]:
    """A pool on a fresh database."""
    pool = await open_pool(database_url)
    yield pool
    pool.terminate()

"""The embedded PostgreSQL dies with its parent, however that dies, and comes up with all that was committed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from service.store.embedded import embedded_postgres

_CHILD = """
import asyncio, sys, time
from pathlib import Path
import asyncpg
from service.store.embedded import embedded_postgres

async def write(url):
    conn = await asyncpg.connect(url)
    await conn.execute("CREATE TABLE IF NOT EXISTS t (n int)")
    await conn.execute("INSERT INTO t VALUES (1)")
    print("written", flush=True)
    await asyncio.sleep(60)

with embedded_postgres(Path(sys.argv[1])) as url:
    asyncio.run(write(url))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="roundhouse-pg-"))
    made.chmod(0o755)
    yield made
    # A server whose parent was killed takes a moment to leave its folder.
    deadline = time.monotonic() + 60
    while servers_on(made) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(made)


def servers_on(folder: Path) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"postgres -D {folder}"], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


async def count_rows(url: str) -> int:
    conn = await asyncpg.connect(url)
    try:
        return int(await conn.fetchval("SELECT count(*) FROM t"))
    finally:
        await conn.close()


def _killed_after_a_write(folder: Path, user: int | None = None, python: str = sys.executable) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *(entry for entry in sys.path if "site-packages" in entry)])
    child = subprocess.Popen(
        [python, "-W", "ignore", "-c", _CHILD, folder / "pg"],
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=None if user is None else pwd.getpwuid(user).pw_gid,
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()


def _python_for_others() -> str | None:
    """An interpreter of this version that an ordinary user may start: root's own may lie in root's home."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        version = [python, "-c", "import sys; print(sys.version_info[:2])"]
        try:
            told = subprocess.run(version, user="nobody", capture_output=True, text=True, check=False).stdout
        except PermissionError:
            continue
        if told.strip() == str(sys.version_info[:2]):
            return python
    return None


def test_a_killed_parent_leaves_no_server_and_loses_nothing(folder: Path) -> None:
    for _ in range(2):
        _killed_after_a_write(folder)
    with embedded_postgres(folder / "pg") as url:
        assert asyncio.run(count_rows(url)) == 2
    deadline = time.monotonic() + 60
    while servers_on(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers_on(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_needs_no_privileges(folder: Path) -> None:
    if (python := _python_for_others()) is None:
        pytest.skip("no Python of this version that an ordinary user may start")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    _killed_after_a_write(folder, nobody.pw_uid, python)
    assert (folder / "pg").stat().st_uid == nobody.pw_uid


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    deep = folder / ("long" * 20) / "pg"
    with embedded_postgres(deep, durable=False) as url:

        async def ask() -> int:
            conn = await asyncpg.connect(url)
            try:
                return int(await conn.fetchval("SELECT 1"))
            finally:
                await conn.close()

        assert asyncio.run(ask()) == 1

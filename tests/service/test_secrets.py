"""Secrets at rest, password hashes and the notification hub."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.passwords import new_password, new_salt, sha512_crypt
from service.secrets import Key, KeyRing, SecretUnreadable, Use, load_keys, open_sealed, seal
from service.store.notify import Hub
from service.store.rows import Pool


@given(st.text(), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_is_sealed_opens_with_its_key_alone(text: str, key: bytes, other: bytes) -> None:
    ring, wrong = (KeyRing((Key(secret, Use.SEALS),)) for secret in (key, other))
    with suppress(UnicodeEncodeError):
        blob = seal(ring, text)
        assert open_sealed(ring, blob) == text and seal(ring, text) != blob
        assert open_sealed(ring, blob[5:]) == text, "as it was before blobs named their keys"
        tampered = [blob[:-1] + bytes([blob[-1] ^ 1]), blob[:5], b""]
        for asked, given_ in [(ring, one) for one in tampered] + ([(wrong, blob)] if key != other else []):
            with pytest.raises(SecretUnreadable):
                open_sealed(asked, given_)


async def test_processes_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    keys = await asyncio.gather(*(asyncio.to_thread(load_keys, folder) for _ in range(16)))
    assert len({ring.first.secret for ring in keys}) == 1 and load_keys(folder).keys == keys[0].keys
    assert [path.name for path in folder.iterdir()] == ["key"]
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    (folder / "key").write_bytes(b"short")
    with pytest.raises(SecretUnreadable):
        load_keys(folder)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("password", ["x", "Hello world!", "ä" * 40, new_password()], ids=range(4))
def test_hashes_are_those_of_openssl(password: str) -> None:
    salt = new_salt()
    said = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=password, capture_output=True, text=True, check=True
    )
    assert sha512_crypt(password, salt, 5000).replace("rounds=5000$", "") == said.stdout.strip()


def test_passwords_need_no_quoting_and_differ() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100 and all(len(one) == 20 and one.replace("-", "").replace("_", "").isalnum() for one in made)


async def test_watchers_are_woken_for_their_topics_also_after_a_lost_connection(db: Pool, database_url: str) -> None:
    hub = Hub(database_url)
    running = asyncio.create_task(hub.run())
    try:
        async with hub.watch("device:1", "machine:2") as mine, hub.watch("device:9") as other:
            assert await mine.changed(60) and await other.changed(60), "the first connection wakes all"
            await db.execute("SELECT pg_notify('roundhouse', 'machine:2')")
            assert await mine.changed(60)
            assert not await mine.changed(0.05) and not await other.changed(0)
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                " AND datname = current_database()"
            )
            assert await mine.changed(60) and await other.changed(60), "something may have been missed"
            await db.execute("SELECT pg_notify('roundhouse', 'device:9')")
            assert await other.changed(60)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, asyncpg.PostgresError):
            await running

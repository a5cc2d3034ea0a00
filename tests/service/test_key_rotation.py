"""A key is rotated while others write; whoever is killed on the way leaves nothing that cannot be opened."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from service.certificates import certificates_of, signature_of
from service.cli.main import main
from service.key_rotation import RotationUnderWay, add_next, finish_rotation, rotate
from service.secrets import Key, KeyRing, SecretUnreadable, Use, load_keys, open_sealed, read_keys, seal, write_keys
from service.settings import Settings
from service.store.rows import Pool
from service.store.sealed import SEALED, counted
from sql.loader import Q
from tests.service.api_world import TOKEN, World
from tests.service.parts import make_parts

# Bytes in the database that are no secrets: digests of them, signatures, and requests' hashes.
NOT_SEALED = {
    "agent_session.session",
    "agent_session.token",
    "api_token.digest",
    "discovery.session",
    "discovery.token",
    "erase_certificate.signature",
    "idempotency.request",
    "ip_label.request",
    "native_install.token",
    "rma.signature",
}


async def test_every_column_of_bytes_is_known_as_sealed_or_not(db: Pool) -> None:
    rows = await db.fetch(
        "SELECT table_name || '.' || column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'bytea' AND table_name NOT LIKE 'pgqueuer%'"
    )
    columns = {place.name for place in SEALED if not place.value}
    assert {row[0] for row in rows} == columns | NOT_SEALED and not columns & NOT_SEALED


def test_a_file_of_one_bare_key_is_read_and_rotated(tmp_path: Path) -> None:
    secret = secrets.token_bytes(32)
    (tmp_path / "key").write_bytes(secret)
    ring = load_keys(tmp_path)
    assert ring.keys == (Key(secret, Use.SEALS),)
    before = seal(ring, "before")
    first, second = rotate(tmp_path)
    assert (first.use, second) == (Use.SEALS, Key(secret, Use.OPENS))
    assert ring.first == first, "the file is looked at again"
    assert open_sealed(ring, before) == "before"
    assert secret.hex() not in repr(ring.keys)
    with pytest.raises(RotationUnderWay):
        rotate(tmp_path)
    with pytest.raises(RotationUnderWay):
        add_next(tmp_path)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_host_that_was_given_the_next_key_opens_what_it_seals(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    ring = load_keys(here)
    added = add_next(here)
    assert ring.first.id == added[0].id, "it does not seal yet"
    there.mkdir()
    write_keys(there / "key", added)
    rotate(here)
    assert ring.first.id == added[1].id
    assert open_sealed(load_keys(there), seal(ring, "new")) == "new"


@pytest.mark.parametrize(
    "content", [b"", b"xyz seals\n", b"00 seals\n", b"00" * 32 + b" opens\n", b"00" * 32 + b" never\n"], ids=range(5)
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SecretUnreadable, match="key"):
        read_keys(tmp_path / "key")


async def _fill(world: World, ring: KeyRing) -> None:
    """One value at every place, some by a bare blob of old."""
    await world.add_machines(3)
    assert (await world.order()).status == 201
    for place in SEALED[:5]:
        await world.db.execute(f"UPDATE {place.table} SET {place.column} = $1", seal(ring, place.name)[5:])
    await world.db.execute(
        "INSERT INTO leaf_exemption SELECT id, '{a}', '', $1, '', 'me', now() FROM leaf", seal(ring, "accepted")
    )
    machine, device = await world.db.fetchval("SELECT id FROM machine LIMIT 1"), uuid4()
    run = await world.db.fetchval(
        Q["start_run"], "prepare", device, "erase", {}, *[await world.db.fetchval("SELECT now()")] * 2
    )
    spec = {"storage": {"passphrase": seal(ring, "word").hex(), "raid": "0"}}
    await world.db.execute(Q["offer_work"], machine, run, "install", "install", spec)
    evidence: dict[str, object] = {"disks": []}
    signature = signature_of(ring.first.secret, machine, run, evidence)
    await world.db.execute(Q["certify_erase"], machine, run, evidence, signature)


async def test_a_rotation_survives_kills_and_writers(world: World, tmp_path: Path) -> None:
    parts = make_parts(Settings(state_dir=tmp_path))
    ring, random = parts.key, Random(7)
    await _fill(world, ring)
    machines = [row["id"] for row in await world.db.fetch("SELECT id FROM machine")]
    old = ring.first
    rotate(tmp_path)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            blob = seal(ring, "password")
            await asyncio.sleep(random.random() / 100)  # as a transaction that is open for a while
            await world.db.execute("UPDATE machine SET bmc_secret = $2 WHERE id = $1", random.choice(machines), blob)

    writing = asyncio.create_task(write())
    for _ in range(20):
        task = asyncio.create_task(finish_rotation(world.db, parts, settled_s=1e9))
        await asyncio.sleep(random.random() / 50)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(ring.keys) == 2, "the old key stays until it has settled"
    stop.set()
    await writing
    await finish_rotation(world.db, parts, settled_s=0)
    if len(ring.keys) == 2:
        assert await finish_rotation(world.db, parts, settled_s=0)
    assert old.id not in [key.id for key in read_keys(tmp_path / "key")]
    found = await counted(world.db, ring)
    assert all(not here.unreadable for here in found.values())
    for place in ("machine.bmc_secret", "leaf.running", "agent_work.spec", "device.root_password"):
        here = found[place]
        assert here.values and here.by_key == {ring.first.id.hex(): here.values}, place
    assert open_sealed(ring, await world.db.fetchval("SELECT private_key FROM leaf")) == "leaf.private_key"
    spec = await world.db.fetchval("SELECT spec FROM agent_work")
    assert spec["storage"].pop("raid") == "0"
    assert open_sealed(ring, bytes.fromhex(spec["storage"]["passphrase"])) == "word"
    of = await world.db.fetchval("SELECT machine_id FROM erase_certificate")
    assert [one.valid for one in await certificates_of(world.db, ring, of)] == [True]
    assert not await finish_rotation(world.db, parts, settled_s=0), "there is nothing to do"


async def test_what_cannot_be_opened_is_told_and_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.add_machines(2)
    ring = load_keys(tmp_path)
    stranger = seal(KeyRing((replace(ring.first, secret=bytes(32)),)), "lost")
    await world.db.execute("UPDATE machine SET bmc_secret = $1 WHERE name = 'm0'", stranger)
    await world.db.execute("UPDATE machine SET bmc_secret = $1 WHERE name = 'm1'", seal(ring, "there"))
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    assert await asyncio.to_thread(main, ["--api", world.url, "secret", "rotate"]) == 0
    parts = make_parts(Settings(state_dir=tmp_path))
    await finish_rotation(world.db, parts, settled_s=0)
    assert await world.db.fetchval("SELECT bmc_secret FROM machine WHERE name = 'm0'") == stranger
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["--api", world.url, "secret", "show"]) == 1
    shown = capsys.readouterr().out
    (line,) = [line.split() for line in shown.splitlines() if line.startswith("machine.bmc_secret ")]
    assert line == ["machine.bmc_secret", "2", "other:", "1,", f"{parts.key.first.id.hex()}:", "1", "1"]
    assert parts.key.first.secret.hex() not in shown
    assert await asyncio.to_thread(main, ["--api", world.url, "secret", "rotate"]) == 1, "the last one has not ended"
    assert "has not ended" in capsys.readouterr().err

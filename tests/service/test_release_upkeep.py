"""Upkeep of the images that a service has: wrong files, peers, what nobody needs any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import signing, store
from service.artefacts import Artefacts, NotBuilt
from service.releases.upkeep import Upkeep
from service.settings import BadSetting, Settings, image_keys_of
from service.store.rows import Pool
from tests.images.http_store import BrokenServer, serving
from tests.images.test_store import made
from tests.service.parts import make_parts

SLUG = "debian_12"


async def test_releases_that_no_trusted_key_has_signed_are_not_given_out(tmp_path: Path) -> None:
    root = tmp_path / "images"
    release = store.publish(root, made(root, "one"))
    public = signing.make_key(tmp_path / "key.pem")
    images = Artefacts(root, image_keys_of(Settings(image_keys=public)))
    with pytest.raises(NotBuilt, match=f"{SLUG} release {release.id} is not signed by any of the keys"):
        images.image(SLUG)
    signatures = signing.sign(signing.private_key(tmp_path / "key.pem"), release)
    store.annotate(root, SLUG, release.id, signatures=signatures)
    assert images.image(SLUG) == release.image
    with pytest.raises(BadSetting, match="image_keys: 'x' is no"):
        image_keys_of(Settings(image_keys="x"))


async def test_upkeep_moves_a_wrong_file_aside_and_has_it_again_from_a_peer(db: Pool, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "images"
    release = store.publish(theirs, made(theirs, "one"))
    with serving(BrokenServer(theirs)) as server:
        settings = Settings(state_dir=tmp_path, image_peers=server.url)
        parts = make_parts(settings)
        upkeep = Upkeep(db, parts)
        await upkeep.look()
        assert parts.images.image(SLUG) == release.image
        (ours / release.kernel.file).write_bytes(b"x" * release.kernel.bytes)
        await upkeep.look()
        store.verify(ours, release.kernel)
    types = [row["type"] for row in await db.fetch("SELECT type FROM event ORDER BY seq")]
    assert types == ["image.came", "image.corrupt"]


async def test_upkeep_tells_once_that_a_peer_has_gone_back(db: Pool, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    store.publish(theirs, made(theirs, "one"))
    old = (theirs / store.INDEX).read_bytes()
    store.publish(theirs, made(theirs, "two"))
    with serving(BrokenServer(theirs)) as server:
        upkeep = Upkeep(db, make_parts(Settings(state_dir=tmp_path, image_peers=server.url, image_sync_s=0)))
        await upkeep.look()
        server.index = old
        for _ in range(3):
            await upkeep.look()
    rows = await db.fetch("SELECT type, body FROM event ORDER BY seq")
    assert [row["type"] for row in rows] == ["image.came", "image.not_taken_over"]
    assert "older than one seen before" in rows[1]["body"]


async def test_upkeep_without_a_peer_leaves_a_wrong_file_out_of_service(db: Pool, tmp_path: Path) -> None:
    root = tmp_path / "images"
    release = store.publish(root, made(root, "one"))
    parts = make_parts(Settings(state_dir=tmp_path))
    upkeep = Upkeep(db, parts)
    await upkeep.look()
    (root / release.kernel.file).write_bytes(b"x" * release.kernel.bytes)
    await upkeep.look()
    with pytest.raises(NotBuilt, match="out of service"):
        parts.images.image(SLUG)
    body = await db.fetchval("SELECT body FROM event WHERE type = 'image.corrupt'")
    assert release.kernel.sha256 in body


async def test_upkeep_collects_only_where_it_is_told_to(db: Pool, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for text in ("one", "two", "three"):
        store.publish(root, made(root, text))
    for keep, left in ((0, 3), (1, 1)):
        parts = make_parts(Settings(state_dir=tmp_path, image_keep=keep, image_keep_days=0))
        await Upkeep(db, parts).look()
        assert len(store.load_releases(root)[SLUG].releases) == left

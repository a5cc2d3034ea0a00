"""What `roundhouse image` does to the store of this host, and what it asks of the service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from images import store
from service.cli.main import main
from tests.images.http_store import BrokenServer, serving
from tests.images.test_store import made
from tests.service.api_world import TOKEN, World

SLUG = "debian_12"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a current release and a newer one."""
    store.publish(tmp_path / "images", made(tmp_path / "images", "old"))
    store.publish(tmp_path / "images", made(tmp_path / "images", "new"), current=False)
    return tmp_path / "images"


def newer(root: Path) -> str:
    """The release that is not current."""
    known = store.load_releases(root)[SLUG]
    (one,) = set(known.releases) - {known.current}
    return one


def test_a_release_is_signed_and_verified(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, at = str(tmp_path / "key.pem"), ["--images", str(root)]
    assert main(["image", "keygen", key]) == 0
    monkeypatch.setenv("ROUNDHOUSE_IMAGE_KEYS", capsys.readouterr().out.strip())
    assert main(["image", "verify", *at]) == 1
    assert capsys.readouterr().out.count("is not signed by any of the keys") == 2
    assert main(["image", "sign", SLUG, "--key", key, *at]) == 0
    assert main(["image", "sign", SLUG, newer(root), "--key", key, *at]) == 0
    capsys.readouterr()
    assert main(["image", "verify", SLUG, *at]) == 0
    assert capsys.readouterr().out.count("4 files are right, signed by") == 2
    assert main(["image", "keygen", key]) == 1
    assert "File exists" in capsys.readouterr().err


def test_a_wrong_file_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = store.release(root, SLUG)
    (root / release.kernel.file).write_text("other")
    assert main(["image", "verify", "--images", str(root)]) == 1
    assert f"sha256/{release.kernel.sha256}: sha256 is" in capsys.readouterr().out


def test_promote(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = newer(root)
    assert main(["image", "promote", SLUG, new, "--images", str(root)]) == 0
    assert store.release(root, SLUG).id == new
    assert main(["image", "promote", SLUG, "x", "--images", str(root)]) == 1
    assert f"{SLUG} has no release x" in capsys.readouterr().err


def test_sync(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(BrokenServer(root)) as server:
        assert main(["image", "sync", SLUG, "--from", server.url, "--images", str(tmp_path / "ours")]) == 0
        assert store.load(tmp_path / "ours") == store.load(root)
        assert "and is current" in capsys.readouterr().out
        server.index = b"no index"
        assert main(["image", "sync", "--from", server.url, "--images", str(tmp_path / "ours")]) == 1
        assert "is no index" in capsys.readouterr().err


def test_collect_without_a_service_keeps_all_releases(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROUNDHOUSE_TOKEN", raising=False)
    assert main(["image", "collect", "--keep", "0", "--days", "0", "--images", str(root)]) == 0
    assert "all releases are kept" in capsys.readouterr().err
    assert len(store.load_releases(root)[SLUG].releases) == 2


async def _asked(world: World, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    return await asyncio.to_thread(main, list(words))


async def test_collect_keeps_what_a_rollout_needs(
    world: World, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = newer(root)
    at = ("--keep", "0", "--days", "0", "--images", str(root))
    assert await _asked(world, monkeypatch, "image", "rollout", SLUG, new, "--percent", "7") == 0
    assert await _asked(world, monkeypatch, "image", "collect", "--dry-run", *at) == 0
    assert "0 releases and 0 files" in capsys.readouterr().out
    assert await _asked(world, monkeypatch, "image", "stop-rollout", SLUG, "--reason", "enough seen") == 0
    assert await _asked(world, monkeypatch, "image", "stop-rollout", SLUG) == 1
    assert f"no rollout of {SLUG} is running" in capsys.readouterr().err
    assert await _asked(world, monkeypatch, "image", "collect", *at) == 0
    assert "1 releases and 0 files" in capsys.readouterr().out  # its files are too young
    assert list(store.load_releases(root)[SLUG].releases) == [store.release(root, SLUG).id]


async def test_releases_and_rollouts_are_listed(
    world: World, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = newer(root)
    assert await _asked(world, monkeypatch, "image", "rollout", SLUG, new) == 0
    capsys.readouterr()
    assert await _asked(world, monkeypatch, "image", "releases") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[SLUG, new], [SLUG, store.release(root, SLUG).id]]
    assert "rolled out, 5 %" in lines[1]
    assert await _asked(world, monkeypatch, "--json", "image", "rollouts", SLUG) == 0
    (found,) = _json(capsys)
    assert (found["release"], found["percent"], found["enough"]) == (new, 5, 10)


def _json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found

"""Replication by plain HTTP: from good web servers, and from broken and lying ones."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from images import signing, store
from images.replication import PeerFailed, Synced, sync
from service.lab.ports import free_port
from tests.images.http_store import BrokenServer, serving
from tests.images.test_store import made

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
LARGE = "x" * 300_000

_NGINX = """
daemon off; user {user}; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A store with a current release of two slugs and a newer one that nobody gets yet."""
    root = tmp_path / "theirs"
    store.publish(root, made(root, LARGE))
    store.publish(root, made(root, "flat", "flatcar"))
    store.publish(root, made(root, "newer"), current=False)
    return root


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """An empty store."""
    (tmp_path / "ours").mkdir()
    return tmp_path / "ours"


def whole(root: Path) -> dict[str, list[str]]:
    """The releases of a store all of whose files are right, by slug; and no file that is wrong."""
    for path in (root / "sha256").glob("*"):
        assert store.hash_file(path) == path.name
    known = store.load_releases(root)
    for slug in known:
        for release in known[slug].releases.values():
            for stored in release.files.values():
                store.verify(root, stored)
    return {slug: sorted(known[slug].releases) for slug in known}


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(1200):
                try:
                    urlopen(f"http://127.0.0.1:{port}/index.json").close()
                    break
                except URLError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def static(kind: str, root: Path, folder: Path) -> Iterator[str]:
    """A web server that knows nothing of us."""
    port = free_port(socket.SOCK_STREAM)
    if kind == "python":
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(root), str(port)]
    else:
        if NGINX is None:
            pytest.skip("needs the package nginx-light")
        (folder / "nginx.conf").write_text(
            _NGINX.format(user=getpass.getuser(), folder=folder, port=port, root=root.resolve())
        )
        command = [NGINX, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with _running(command, port) as url:
        yield url


@pytest.mark.parametrize("kind", ["python", "nginx"])
def test_everything_comes_over_and_then_nothing_more(theirs: Path, ours: Path, tmp_path: Path, kind: str) -> None:
    with static(kind, theirs, tmp_path) as url:
        first = sync(ours, url)
        assert whole(ours) == whole(theirs)
        assert store.load(ours) == store.load(theirs)
        assert first.told == ()
        assert len(first.releases) == 3
        assert first.bytes == sum(path.stat().st_size for path in (theirs / "sha256").iterdir())
        assert sync(ours, url) == Synced((), (), 0, ())


@pytest.mark.parametrize("kind", ["python", "nginx"])
def test_what_has_come_in_part_is_gone_on_with_where_the_server_can(
    theirs: Path, ours: Path, tmp_path: Path, kind: str
) -> None:
    image = store.release(theirs, "debian_12").image
    assert image is not None
    (ours / "incoming").mkdir()
    (ours / "incoming" / image.sha256).write_bytes((theirs / image.file).read_bytes()[:200_000])
    with static(kind, theirs, tmp_path) as url:
        assert sync(ours, url, slugs=["debian_12"]).told == ()
    assert whole(ours) == {"debian_12": whole(theirs)["debian_12"]}


def test_only_wanted_slugs_come_and_a_missing_one_is_told(theirs: Path, ours: Path) -> None:
    with serving(BrokenServer(theirs)) as server:
        found = sync(ours, server.url, slugs=["flatcar", "plan9"])
    assert list(whole(ours)) == ["flatcar"]
    assert found.told == (f"{server.url}: it has no plan9",)


def test_old_releases_come_only_when_they_are_wanted(theirs: Path, ours: Path) -> None:
    old = store.release(theirs, "flatcar").id
    new = store.publish(theirs, made(theirs, "flat two", "flatcar")).id
    _published(theirs, "flatcar", old, "2020-01-01T00:00:00+00:00")
    with serving(BrokenServer(theirs)) as server:
        sync(ours, server.url)
        assert whole(ours)["flatcar"] == [new]
        sync(ours, server.url, wanted={"flatcar": [old]})
        assert whole(ours)["flatcar"] == sorted([old, new])
        assert store.release(ours, "flatcar").id == new


def _published(root: Path, slug: str, release: str, when: str) -> None:
    raw = json.loads((root / store.INDEX).read_text())
    raw[slug]["releases"][release]["published"] = when
    (root / store.INDEX).write_text(json.dumps(raw))


def test_connections_that_break_are_gone_on_with(theirs: Path, ours: Path) -> None:
    with serving(BrokenServer(theirs, cut=100_000, cuts=3)) as server:
        found = sync(ours, server.url, parallel=1)
    assert whole(ours) == whole(theirs)
    assert found.told == ()
    ranges = [asked for path, asked in server.asked if asked is not None]
    assert ranges[:2] == ["bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"cut": 0}, "ended after 0 of"),
        ({"flip": True}, "what came has the sha256"),
        ({"status": 500}, "HTTP 500"),
        ({"status": 404}, "HTTP 404"),
        ({"longer": b"more"}, "more than"),
    ],
    ids=["truncated", "flipped", "500", "404", "longer"],
)
def test_a_broken_server_gives_nothing_and_is_told(
    theirs: Path, ours: Path, faults: dict[str, object], why: str
) -> None:
    mine = store.publish(ours, made(ours, "mine", "flatcar"))
    with serving(BrokenServer(theirs, **faults)) as server:  # type: ignore[arg-type]
        found = sync(ours, server.url, slugs=["debian_12"])
        assert any(why in one for one in found.told), found.told
        assert "debian_12" not in whole(ours)
        assert store.load(ours)["flatcar"] == mine
    with serving(BrokenServer(theirs)) as server:
        sync(ours, server.url)
    assert whole(ours)["debian_12"] == whole(theirs)["debian_12"]


def test_a_server_without_ranges_begins_again(theirs: Path, ours: Path) -> None:
    with serving(BrokenServer(theirs, cut=100_000, cuts=1, ignores_ranges=True)) as server:
        found = sync(ours, server.url)
    assert found.told == ()
    assert whole(ours) == whole(theirs)


def test_a_server_that_answers_another_range_begins_again(theirs: Path, ours: Path) -> None:
    with serving(BrokenServer(theirs, cut=100_000, cuts=2, wrong_range=True)) as server:
        found = sync(ours, server.url)
    assert found.told == ()
    assert whole(ours) == whole(theirs)


def test_an_older_index_than_one_seen_before_is_told_and_not_followed(theirs: Path, ours: Path) -> None:
    old = (theirs / store.INDEX).read_bytes()
    newest = store.publish(theirs, made(theirs, "repaired"))
    with serving(BrokenServer(theirs)) as server:
        sync(ours, server.url)
        assert store.release(ours, "debian_12") == newest
        server.index = old
        found = sync(ours, server.url)
        assert len(found.told) == 1
        assert "its index of debian_12 is older than one seen before (serial 2 after 3" in found.told[0]
        assert store.release(ours, "debian_12") == newest


def test_a_turned_back_index_with_a_higher_serial_is_followed_only_without_keys(theirs: Path, ours: Path) -> None:
    public = signing.make_key(theirs / "key.pem")
    private = signing.private_key(theirs / "key.pem")
    for slug, known in store.load_releases(theirs).items():
        for name, release in known.releases.items():
            store.annotate(theirs, slug, name, signatures=signing.sign(private, release))
    known = store.load_releases(theirs)["debian_12"]
    (newer,) = set(known.releases) - {known.current}
    _published(theirs, "debian_12", known.current, "2020-01-01T00:00:00+00:00")
    older = store.release(theirs, "debian_12")
    store.annotate(theirs, "debian_12", older.id, signatures=signing.sign(private, older))
    store.promote(theirs, "debian_12", newer)
    keys = signing.public_keys(public)
    with serving(BrokenServer(theirs)) as server:
        assert sync(ours, server.url, keys=keys).told == ()
        store.promote(theirs, "debian_12", older.id)
        found = sync(ours, server.url, keys=keys)
        assert "went back to the older release" in found.told[0]
        assert store.release(ours, "debian_12").id == newer
        sync(ours, server.url)
        assert store.release(ours, "debian_12").id == older.id


def test_what_no_trusted_key_has_signed_does_not_come(theirs: Path, ours: Path) -> None:
    public = signing.make_key(theirs / "key.pem")
    release = store.release(theirs, "flatcar")
    store.annotate(
        theirs, "flatcar", release.id, signatures=signing.sign(signing.private_key(theirs / "key.pem"), release)
    )
    with serving(BrokenServer(theirs)) as server:
        found = sync(ours, server.url, keys=signing.public_keys(public))
    assert list(whole(ours)) == ["flatcar"]
    assert all("not signed by any of the keys" in one for one in found.told)
    assert len(found.told) == 2


def test_a_newer_release_that_was_made_here_stays_current(theirs: Path, ours: Path) -> None:
    for release in store.load_releases(theirs)["debian_12"].releases:
        _published(theirs, "debian_12", release, "2020-01-01T00:00:00+00:00")
    mine = store.publish(ours, made(ours, "mine"))
    with serving(BrokenServer(theirs)) as server:
        found = sync(ours, server.url, slugs=["debian_12"])
    assert store.release(ours, "debian_12") == mine
    assert "has a newer release here" in found.told[0]


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"../x": {"current": "", "serial": 0, "releases": {}}}',
        json.dumps(
            {
                "debian_12": {
                    "current": "",
                    "serial": 1,
                    "releases": {
                        "a": {
                            "recipe": "r",
                            "kernel_release": "6",
                            "kernel": {"file": "../../etc/passwd", "sha256": "0" * 64, "bytes": 1},
                            "initrd": {"file": f"sha256/{'0' * 64}", "sha256": "0" * 64, "bytes": 1},
                        }
                    },
                }
            }
        ).encode(),
    ],
    ids=["empty", "list", "bytes", "deep", "slug", "path"],
)
def test_an_index_that_is_none_or_leads_out_of_the_store_is_refused(theirs: Path, ours: Path, index: bytes) -> None:
    with serving(BrokenServer(theirs, index=index)) as server, pytest.raises(PeerFailed, match="is no index"):
        sync(ours, server.url)
    assert not (ours / store.INDEX).exists()


def test_a_release_under_another_s_name_is_refused(theirs: Path, ours: Path) -> None:
    raw = json.loads((theirs / store.INDEX).read_text())
    raw["flatcar"]["releases"][raw["flatcar"]["current"]]["recipe"] = "other"
    with serving(BrokenServer(theirs, index=json.dumps(raw).encode())) as server:
        found = sync(ours, server.url, slugs=["flatcar"])
    assert "is made of what" in found.told[0]
    assert not (ours / store.INDEX).exists()


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/x", "http://", "x"], ids=["file", "ftp", "no-host", "word"])
def test_only_http_is_asked(ours: Path, url: str) -> None:
    with pytest.raises(PeerFailed, match="is not http"):
        sync(ours, url)


def test_a_server_that_is_away_is_told(ours: Path) -> None:
    with pytest.raises(PeerFailed, match="refused"):
        sync(ours, f"http://127.0.0.1:{free_port(socket.SOCK_STREAM)}")


def test_two_that_sync_at_once_do_not_disturb_each_other(theirs: Path, ours: Path) -> None:
    lines = ("import sys", "from pathlib import Path", "from images.replication import sync")
    command = "\n".join((*lines, "sync(Path(sys.argv[1]), sys.argv[2])"))
    with serving(BrokenServer(theirs, cut=50_000, cuts=8)) as server:
        processes = [subprocess.Popen([sys.executable, "-c", command, str(ours), server.url]) for _ in range(3)]
        assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert whole(ours) == whole(theirs)


def test_a_file_that_was_moved_aside_comes_again(theirs: Path, ours: Path) -> None:
    with serving(BrokenServer(theirs)) as server:
        sync(ours, server.url)
        old = store.release(ours, "debian_12")
        newer = store.publish(theirs, made(theirs, "newest"))
        sync(ours, server.url)
        assert old.image is not None
        (ours / old.image.file).unlink()
        assert sync(ours, server.url).bytes == old.image.bytes
    assert store.release(ours, "debian_12") == newer
    assert old.id in whole(ours)["debian_12"]


def test_who_is_stopped_goes_on_the_next_time(theirs: Path, ours: Path) -> None:
    asked = iter([False, False, *[True] * 100])
    with serving(BrokenServer(theirs)) as server:
        found = sync(ours, server.url, parallel=1, stopped=lambda: next(asked))
        assert found.releases == ()
        assert sync(ours, server.url).told == ()
    assert whole(ours) == whole(theirs)


def test_whoever_holds_no_key_cannot_shut_out_the_true_index(theirs: Path, ours: Path, tmp_path: Path) -> None:
    public = signing.make_key(tmp_path / "key.pem")
    private, keys = signing.private_key(tmp_path / "key.pem"), signing.public_keys(public)

    def sign(release: store.Artefact) -> None:
        store.annotate(theirs, release.slug, release.id, signatures=signing.sign(private, release))

    sign(store.release(theirs, "flatcar"))
    raw = json.loads((theirs / store.INDEX).read_text())
    forged = raw["debian_12"]["releases"][raw["debian_12"]["current"]] | {"published": "2999-01-01T00:00:00+00:00"}
    raw["flatcar"]["releases"]["f" * 12] = forged
    raw["flatcar"]["serial"] = 10**9
    with serving(BrokenServer(theirs, index=json.dumps(raw).encode())) as server:
        assert any("is made of what" in one for one in sync(ours, server.url, slugs=["flatcar"], keys=keys).told)
        server.index = None
        repaired = store.publish(theirs, made(theirs, "repaired", "flatcar"))
        sign(repaired)
        assert sync(ours, server.url, slugs=["flatcar"], keys=keys).told == ()
    assert store.release(ours, "flatcar").id == repaired.id

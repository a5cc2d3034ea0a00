"""The archive of further programs: fetched, checked, unpacked; and what the built one has."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from images.agent import toolbox
from images.agent.errors import SessionEnded, WorkFailed
from images.build import cpio
from images.build.host import which
from images.build.toolbox import LINKS, TOOLS
from images.store import Artefact, load

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A small one."""
    if missing := [program for program in ("zstd", "cpio") if which(program) is None]:
        pytest.skip(f"needs the Debian packages {', '.join(missing)}")
    made = cpio.encode(
        [
            cpio.Entry("bin", stat.S_IFDIR | 0o755),
            cpio.Entry("bin/hammer", stat.S_IFREG | 0o755, b"#!/bin/sh\necho bang\n"),
            cpio.Entry("bin/mallet", stat.S_IFLNK | 0o777, b"hammer"),
            cpio.Entry("lib", stat.S_IFDIR | 0o755),
            cpio.Entry("lib/large", stat.S_IFREG | 0o644, os.urandom(3 << 20)),
        ]
    )
    return subprocess.run(["zstd", "-q", "-1", "-c"], input=made, capture_output=True, check=True).stdout


class _Files(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Files)
        self.answers: list[tuple[int, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/images/x"


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_it_is_unpacked_over_what_is_there(archive: bytes, server: _Server, tmp_path: Path) -> None:
    server.answers = [(200, archive)]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hammer").write_text("an older one")
    toolbox.unpack(toolbox.fetch(server.url, hashlib.sha256(archive).hexdigest()), str(tmp_path))
    assert subprocess.run([tmp_path / "bin" / "mallet"], capture_output=True, check=True).stdout == b"bang\n"
    assert (tmp_path / "lib" / "large").stat().st_size == 3 << 20


def test_what_has_another_hash_or_breaks_is_fetched_again(archive: bytes, server: _Server) -> None:
    flipped = bytearray(archive)
    flipped[len(archive) // 2] ^= 1
    server.answers = [(503, b""), (200, bytes(flipped)), (200, archive)]
    assert toolbox.fetch(server.url, hashlib.sha256(archive).hexdigest()) == archive


def test_an_archive_that_was_replaced_means_a_newer_installer(server: _Server) -> None:
    server.answers = [(404, b"")]
    toolbox.offered(server.url, "0" * 64)
    with pytest.raises(SessionEnded, match="a newer installer is"):
        toolbox.need("no-such-program")


def test_what_is_no_archive_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="cannot unpack the toolbox"):
        toolbox.unpack(bytearray(b"no zstd stream at all"), str(tmp_path))


def test_programs_that_are_there_need_no_archive() -> None:
    toolbox.offered("", "")
    toolbox.need("sh", "cat")
    with pytest.raises(WorkFailed, match="booted without a toolbox, which would have no-such-program"):
        toolbox.need("sh", "no-such-program")


@pytest.fixture(scope="module")
def built() -> Artefact:
    """The installer of the image store."""
    found = load(IMAGES).get("installer")
    if found is None or found.toolbox is None:
        pytest.skip(f"needs the installer in {IMAGES} (roundhouse image build installer)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to change the root folder")
    return found


def test_every_program_of_the_built_one_starts_in_the_installers_root(built: Artefact, tmp_path: Path) -> None:
    assert built.toolbox is not None
    for stored in (built.initrd, built.toolbox):
        toolbox.unpack(bytearray((IMAGES / stored.file).read_bytes()), str(tmp_path))
    for name in TOOLS:
        started = subprocess.run(["chroot", tmp_path, f"/bin/{name}", "--help"], capture_output=True, text=True)
        said = started.stdout + started.stderr
        assert started.returncode != 127, (name, said)  # the loader's, and chroot's
        assert said, name
    assert {name for name in LINKS if not (tmp_path / "bin" / name).exists()} == set()
    applets = subprocess.run([tmp_path / "bin/busybox", "--list"], capture_output=True, text=True, check=True)
    assert {name for name, program in LINKS.items() if program == "busybox"} <= set(applets.stdout.split())
    modules = (tmp_path / "lib/modules" / built.kernel_release / "modules.dep").read_text()
    for name in ("raid1", "raid10", "dm-crypt", "xfs", "bonding", "virtio_net"):
        assert f"/{name}.ko:" in modules
    for line in modules.splitlines():
        assert (tmp_path / "lib/modules" / built.kernel_release / line.split(":")[0]).is_file()

"""Importing images of others: the real qemu-img and packers, a real HTTP server that misbehaves, and hostile files."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import chunks, store
from images.build import fetching, foreign, importing
from images.build.host import BuildError
from images.store import Artefact, put_file
from tests.images.build.disks import (
    MIB,
    ROOT_UUID,
    make_coreos_disk,
    make_disk,
    make_flatcar_disk,
    require_disk_tools,
    run,
)
from tests.images.build.stores import with_installer

LIMIT = 256 * MIB


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def silent(_done: int, _total: int) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_disk_tools()
    return make_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def image_store(tmp_path: Path) -> Path:
    return with_installer(tmp_path / "store")


def packed(disk: Path, form: str, folder: Path) -> Path:
    """The disk in one of the forms that images are published in."""
    kind, _, packing = form.partition(".")
    plain = folder / f"disk.{kind}"
    if kind == "vmdk":
        run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", disk, plain)
    else:
        run("qemu-img", "convert", "-f", "raw", "-O", kind, *(["-c"] if kind == "qcow2" else []), disk, plain)
    if not packing:
        return plain
    command = {"xz": "xz", "gz": "gzip", "bz2": "bzip2", "zst": "zstd"}[packing]
    target = folder / f"disk.{form}"
    target.write_bytes(run(command, "-c", "-1", plain))
    return target


def unpacked(root: Path, image: store.StoredImage) -> bytes:
    """The whole disk that an image of the store describes, its chunks checked."""
    map_ = chunks.decode((root / image.map.file).read_bytes())
    data = (root / image.file).read_bytes()
    whole = bytearray(map_.disk_bytes)
    for chunk in map_.chunks:
        frame = data[chunk.position : chunk.position + chunk.frame_bytes]
        assert hashlib.sha256(frame).hexdigest() == chunk.sha256
        done = subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True)
        whole[chunk.offset : chunk.end] = done.stdout
    return bytes(whole)


@pytest.mark.parametrize("form", ["raw", "raw.xz", "raw.gz", "raw.bz2", "raw.zst", "qcow2", "qcow2.xz", "vmdk"])
def test_every_form_becomes_the_same_disk(tmp_path: Path, disk: Path, image_store: Path, form: str) -> None:
    source = packed(disk, form, tmp_path)
    wanted = importing.Import(slug="some_1", source=str(source), sha256=sha256(source), form=form, limit=LIMIT)
    artefact = importing.bring(image_store, wanted)
    assert artefact.image is not None
    assert unpacked(image_store, artefact.image) == disk.read_bytes()
    map_ = chunks.decode((image_store / artefact.image.map.file).read_bytes())
    assert [(one.number, one.role, one.filesystem) for one in map_.partitions] == [
        (1, "bios", ""),
        (2, "esp", "vfat"),
        (3, "root", "ext4"),
    ]
    assert map_.partitions[2].uuid == ROOT_UUID
    assert store.release(image_store, "some_1") == artefact
    assert not list((image_store / ".downloads").iterdir())
    assert not list(image_store.glob(".build-*"))


def test_the_form_is_told_by_the_first_bytes(tmp_path: Path, disk: Path, image_store: Path) -> None:
    source = packed(disk, "qcow2.xz", tmp_path).rename(tmp_path / "misleading.img")
    artefact = importing.bring(image_store, importing.Import(slug="some_1", source=str(source), sha256=sha256(source)))
    assert artefact.image is not None and artefact.image.disk_bytes == disk.stat().st_size
    wrong = importing.Import(slug="some_2", source=str(source), sha256=sha256(source), form="raw.gz")
    with pytest.raises(BuildError, match=r"the file is packed as xz, which does not fit the format raw\.gz"):
        importing.bring(image_store, wrong)


def test_the_same_again_fetches_nothing_and_follows_the_installer(
    tmp_path: Path, disk: Path, image_store: Path
) -> None:
    source = packed(disk, "raw.zst", tmp_path)
    wanted = importing.Import(slug="some_1", source=str(source), sha256=sha256(source))
    first = importing.bring(image_store, wanted)
    source.unlink()
    assert importing.bring(image_store, wanted) == first
    newer = image_store / "newer"
    newer.write_text("newer")
    kernel = put_file(image_store, newer)
    store.publish(image_store, Artefact("installer", "r2", "6.2", kernel, first.initrd, None))
    second = importing.bring(image_store, wanted)
    assert (second.image, second.kernel, second.kernel_release) == (first.image, kernel, "6.2")


@pytest.mark.parametrize("filesystem", ["xfs", "btrfs"])
def test_other_root_file_systems_are_found(tmp_path: Path, filesystem: str) -> None:
    require_disk_tools(mkfs_xfs="xfsprogs", mkfs_btrfs="btrfs-progs")
    root = importing.checked(make_disk(tmp_path, filesystem=filesystem))[-1]
    assert (root.role, root.filesystem, root.uuid) == ("root", filesystem, ROOT_UUID)


def test_disks_of_systems_that_ignition_configures_are_taken(tmp_path: Path, image_store: Path) -> None:
    require_disk_tools(mkfs_xfs="xfsprogs", mkfs_btrfs="btrfs-progs")
    for slug, make, roles in (
        ("coreos_stable", make_coreos_disk, ["bios", "esp", "boot", "root"]),
        ("flatcar_stable", make_flatcar_disk, ["esp", "bios", "", "", "", "", "root"]),
    ):
        folder = tmp_path / slug
        folder.mkdir()
        disk = make(folder)
        assert [one.role for one in importing.checked(disk)] == roles
        artefact = importing.bring(image_store, importing.Import(slug=slug, source=str(disk), sha256=sha256(disk)))
        assert artefact.image is not None and artefact.sbom is None
        assert unpacked(image_store, artefact.image) == disk.read_bytes()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param({"label": "dos"}, "no GUID partition table but an MBR", id="mbr"),
        pytest.param({"esp": False, "bios": False}, "nothing can start it", id="no-boot"),
        pytest.param(
            {"filesystem": "none"}, "no root partition with ext4, xfs, btrfs; found: .*3: unknown", id="no-root"
        ),
    ],
)
def test_a_disk_that_cannot_be_installed_is_refused_by_a_sentence(
    tmp_path: Path, kind: dict[str, bool | str], reason: str
) -> None:
    require_disk_tools()
    disk = make_disk(tmp_path, **kind)  # type: ignore[arg-type]
    with pytest.raises(BuildError, match=reason):
        importing.checked(disk)


def test_what_is_no_disk_is_refused(tmp_path: Path, disk: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(os.urandom(MIB - 512) + bytes(512))
    with pytest.raises(BuildError, match="no partition table"):
        importing.checked(other)
    other.write_bytes(b"odd" * 1001)
    with pytest.raises(BuildError, match="no number of sectors"):
        importing.checked(other)
    other.write_bytes(disk.read_bytes()[: 20 * MIB])
    with pytest.raises(BuildError):
        importing.checked(other)


def test_nothing_reads_a_file_with_another_hash(tmp_path: Path, disk: Path, image_store: Path) -> None:
    source = packed(disk, "raw.gz", tmp_path)
    wrong = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(BuildError, match=f"has the sha256 {sha256(source)}, not {wrong}: nothing of it was used"):
        importing.bring(image_store, importing.Import(slug="some_1", source=str(source), sha256=wrong))
    assert not list((image_store / ".downloads").iterdir())
    assert "some_1" not in store.load(image_store)
    with pytest.raises(BuildError, match="not 64 hexadecimal digits"):
        importing.bring(image_store, importing.Import(slug="some_1", source=str(source), sha256="../../etc/passwd"))


@pytest.mark.parametrize("form", ["raw.xz", "raw.gz", "raw.bz2", "raw.zst", "qcow2"])
def test_a_truncated_or_flipped_image_is_refused_and_leaves_nothing(
    tmp_path: Path, disk: Path, image_store: Path, form: str
) -> None:
    source = packed(disk, form, tmp_path)
    whole = source.read_bytes()
    middle = len(whole) // 2
    for broken in (whole[:middle], whole[:middle] + bytes(64) + whole[middle + 64 :]):
        source.write_bytes(broken)
        if form == "qcow2" and len(broken) == len(whole):
            continue  # has no sums of its own; its sha256 is what vouches for it
        with pytest.raises(BuildError):
            importing.bring(image_store, importing.Import(slug="some_1", source=str(source), sha256=sha256(source)))
        assert "some_1" not in store.load(image_store)
        assert not list(image_store.glob(".build-*"))


@pytest.mark.parametrize("packing", ["xz", "gzip", "zstd", "bzip2"])
def test_a_bomb_ends_at_the_limit(tmp_path: Path, packing: str) -> None:
    require_disk_tools()
    bomb = tmp_path / "bomb"
    with bomb.open("wb") as file:
        subprocess.run(f"head -c {64 * MIB} /dev/zero | {packing} -c -1", shell=True, stdout=file, check=True)
    assert bomb.stat().st_size < MIB
    with pytest.raises(BuildError, match="more than the limit of 8,388,608 bytes"):
        foreign.as_disk(bomb, "", tmp_path, 8 * MIB, silent)


def test_a_disk_that_says_it_is_too_large_is_refused_before_it_is_converted(tmp_path: Path) -> None:
    require_disk_tools()
    for form in ("qcow2", "vmdk"):
        run("qemu-img", "create", "-q", "-f", form, tmp_path / "large", "1T")
        with pytest.raises(BuildError, match="1,099,511,627,776 bytes, more than the limit"):
            foreign.as_disk(tmp_path / "large", form, tmp_path, LIMIT, silent)
        assert not (tmp_path / "plain").exists()


def test_a_disk_that_leans_on_another_file_is_never_given_to_qemu_img(tmp_path: Path) -> None:
    require_disk_tools()
    secret, child = tmp_path / "secret", tmp_path / "child"
    secret.write_bytes(b"secret" * 1000)
    cases: dict[str, list[str | Path]] = {
        "backing file": ["-f", "qcow2", "-F", "raw", "-b", secret, child, "64M"],
        "its data in another file": ["-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", child, "64M"],
        "not of one file": ["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", child, "64M"],
    }
    for reason, arguments in cases.items():
        child.unlink(missing_ok=True)
        run("qemu-img", "create", "-q", *arguments)
        with pytest.raises(BuildError, match=f"{reason}|only describes"):
            foreign.as_disk(child, "", tmp_path, LIMIT, silent)
    parent = tmp_path / "parent.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", parent, "64M")
    child.unlink()
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child)
    with pytest.raises(BuildError, match="has a parent disk"):
        foreign.as_disk(child, "vmdk", tmp_path, LIMIT, silent)


def _qcow2(**fields: int) -> bytes:
    """A qcow2 header of version 3 with fields replaced."""
    known = {"backing": 0, "size": MIB, "encryption": 0, "features": 0, "length": 104} | fields
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", 3, known["backing"], 0, 16, known["size"], known["encryption"])
    return head.ljust(72, b"\0") + struct.pack(">QQQII", known["features"], 0, 0, 4, known["length"]) + bytes(64)


def test_a_qcow2_header_is_read_strictly() -> None:
    assert foreign.qcow2_bytes(_qcow2()) == MIB
    for fields in ({"backing": 8}, {"encryption": 2}, {"features": 4}, {"features": 2}, {"features": 1 << 40}):
        with pytest.raises(BuildError):
            foreign.qcow2_bytes(_qcow2(**fields))
    with pytest.raises(BuildError, match="no end"):
        foreign.qcow2_bytes(_qcow2(length=1 << 30))


@given(st.binary(max_size=300), st.integers(0, 110), st.binary(min_size=1, max_size=8))
def test_junk_in_a_header_is_a_build_error_or_a_size(tail: bytes, at: int, piece: bytes) -> None:
    good = _qcow2()
    for head in (b"QFI\xfb" + tail, good[:at] + piece + good[at + len(piece) :], b"KDMV" + tail, b"KDMV" + tail * 4):
        for read in (foreign.qcow2_bytes, foreign.vmdk_bytes):
            try:
                assert read(head) >= 0
            except BuildError:
                continue


class Server(ThreadingHTTPServer):
    """Serves one content under any path, and breaks off as it is told."""

    daemon_threads = True
    content = b""
    break_after: int | None = None  # bytes of an answer
    breaks = 0  # how often
    ranges = True
    location = ""
    asked: list[str]


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if wanted and server.ranges else 200)
        if wanted and server.ranges:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        body = server.content[start:]
        if server.break_after is not None and server.breaks > 0:
            server.breaks -= 1
            body = body[: server.break_after]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    listening = Server(("127.0.0.1", 0), Answer)
    listening.asked = []
    listening.content = os.urandom(4 * MIB)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        listening.shutdown()
        listening.server_close()


def url(server: Server, path: str = "/disk.raw") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def hash_of(server: Server) -> str:
    return hashlib.sha256(server.content).hexdigest()


def test_a_broken_download_goes_on_where_it_was(tmp_path: Path, server: Server) -> None:
    server.break_after, server.breaks = MIB + 7, 2
    seen: list[tuple[int, int]] = []
    got = fetching.fetch(url(server), hash_of(server), tmp_path, LIMIT, "", lambda *so_far: seen.append(so_far))
    assert got.read_bytes() == server.content
    assert server.asked == ["", f"bytes={MIB + 7}-", f"bytes={2 * (MIB + 7)}-"]
    assert seen[-1] == (len(server.content), len(server.content))


def test_what_another_run_left_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / f"{hash_of(server)}.part").write_bytes(server.content[: 3 * MIB])
    fetching.fetch(url(server), hash_of(server), tmp_path, LIMIT, "", silent)
    assert server.asked == [f"bytes={3 * MIB}-"]
    fetching.fetch(url(server), hash_of(server), tmp_path, LIMIT, "", silent)
    assert server.asked[1:] == [f"bytes={4 * MIB}-"]  # 416: all is there


def test_a_server_without_ranges_begins_anew(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.break_after, server.breaks = MIB, 1
    got = fetching.fetch(url(server), hash_of(server), tmp_path, LIMIT, "", silent)
    assert got.read_bytes() == server.content


def test_a_file_above_the_limit_is_not_fetched(tmp_path: Path, server: Server) -> None:
    with pytest.raises(BuildError, match="4,194,304 bytes, more than the limit of 1,048,576"):
        fetching.fetch(url(server), hash_of(server), tmp_path, MIB, "", silent)
    assert (tmp_path / f"{hash_of(server)}.part").stat().st_size == 0


def test_only_the_web_and_this_machines_files_are_sources(tmp_path: Path, server: Server) -> None:
    for source in ("file:///etc/passwd", "ftp://example.org/disk", "http:///disk", "gopher://example.org/x"):
        with pytest.raises(BuildError, match="only http and https URLs"):
            fetching.fetch(source, hash_of(server), tmp_path, LIMIT, "", silent)
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/disk"):
        server.location = target
        with pytest.raises(BuildError):
            fetching.fetch(url(server), hash_of(server), tmp_path, LIMIT, "", silent)
    with pytest.raises(BuildError, match="has a user name in it"):
        fetching.fetch("http://user:word@127.0.0.1/disk", hash_of(server), tmp_path, LIMIT, "", silent)
    with pytest.raises(BuildError, match="no such file"):
        fetching.fetch("/dev/zero", hash_of(server), tmp_path, LIMIT, "", silent)


def test_the_path_of_a_url_names_nothing_here(tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "downloads"
    got = fetching.fetch(url(server, "/../../../../etc/%2e%2e/passwd?a=/b"), hash_of(server), folder, LIMIT, "", silent)
    assert got.parent == folder
    assert [path.name for path in tmp_path.rglob("*")] == ["downloads", got.name]

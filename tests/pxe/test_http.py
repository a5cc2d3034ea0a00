"""HTTP boot over a real socket: scripts by source address, files, images by hash, and nothing outside."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from pxe.http import HttpSettings
from tests.pxe.http_world import FILES, HOST, IMAGE, SHA256, Answer, Served, serving

ETAG = f'"{SHA256}"'
LAST = len(IMAGE) - 1


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("path", "begins"), [("/boot/ipxe", b"#!ipxe"), ("/boot/grub", b"for loader in")])
async def test_the_script_follows_the_source_address(served: Served, path: str, begins: bytes) -> None:
    answer = await served.get(f"{path}?mac=52:54:00:00:01:01", local=HOST)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body.startswith(begins)
    assert dict(served.queries[0]) == {"mac": "52:54:00:00:01:01"}
    stranger = await served.get(path)
    assert stranger.status == 404
    assert served.counters.snapshot() == {"http_scripts": 1, "http_refused": 1}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("snponly.efi", "application/efi"),
        ("grub/grub.cfg", "text/plain"),
        ("empty", "application/octet-stream"),
        ("large", "application/octet-stream"),
    ],
)
async def test_a_file_is_told_as_it_is_sent(served: Served, name: str, kind: str) -> None:
    path, content = f"/boot/files/{name}", FILES[name]
    told, sent = await served.get(path, method="HEAD"), await served.get(path)
    for answer in (told, sent):
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert (told.body, sent.body) == (b"", content)
    known = await served.get(path, f"If-None-Match: {sent.headers['ETag']}")
    assert (known.status, known.body) == (304, b"")


async def test_a_part_of_a_file(served: Served) -> None:
    answer = await served.get("/boot/files/snponly.efi", "Range: bytes=5-9")
    assert (answer.status, answer.body) == (206, FILES["snponly.efi"][5:10])
    assert answer.headers["Content-Range"] == f"bytes 5-9/{len(FILES['snponly.efi'])}"


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ([], 200, IMAGE, None),
        (["Range: bytes=1000-"], 206, IMAGE[1000:], f"bytes 1000-{LAST}/{LAST + 1}"),
        (["Range: bytes=-7"], 206, IMAGE[-7:], f"bytes {LAST - 6}-{LAST}/{LAST + 1}"),
        (["Range: bytes=0-0"], 206, IMAGE[:1], f"bytes 0-0/{LAST + 1}"),
        (["Range: bytes=0-1,5-6"], 200, IMAGE, None),
        (["Range: bytes=1000-", f"If-Range: {ETAG}"], 206, IMAGE[1000:], f"bytes 1000-{LAST}/{LAST + 1}"),
        (["Range: bytes=1000-", 'If-Range: "other"'], 200, IMAGE, None),
        (["Range: bytes=1000-", "If-Range: Wed, 21 Oct 2015 07:28:00 GMT"], 200, IMAGE, None),
        ([f"Range: bytes={LAST + 1}-"], 416, None, f"bytes */{LAST + 1}"),
        ([f"If-None-Match: {ETAG}"], 304, b"", None),
        (["If-None-Match: *"], 304, b"", None),
        ([f'If-None-Match: "other", W/{ETAG}'], 304, b"", None),
        (['If-None-Match: "other"'], 200, IMAGE, None),
        (['If-Match: "other"'], 412, None, None),
        ([f"If-Match: {ETAG}"], 200, IMAGE, None),
        (["Accept-Encoding: gzip"], 200, IMAGE, None),
    ],
)
async def test_an_image(
    served: Served, headers: list[str], status: int, body: bytes | None, content_range: str | None
) -> None:
    answer = await served.get(f"/images/{SHA256}", *headers)
    assert answer.status == status
    assert answer.headers.get("Content-Range") == content_range
    assert body is None or answer.body == body
    if status in (200, 206, 304):
        assert answer.headers["ETag"] == ETAG
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    if status in (200, 206):
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_what_is_sent_is_counted(served: Served) -> None:
    await served.get(f"/images/{SHA256}", "Range: bytes=0-99")
    await served.get("/boot/files/snponly.efi", "Range: bytes=0-9")
    await served.get("/images/" + "b" * 64)
    expected = {"http_images": 1, "http_files": 1, "http_bytes": 110, "http_refused": 1}
    assert served.counters.snapshot() == expected


async def test_one_connection_takes_many_requests(served: Served) -> None:
    """Pipelined (RFC 9112 §9.3.2): the answers come in the order of the requests."""
    reader, writer = await served.connect(HOST)
    lines = "GET {} HTTP/1.1\r\nHost: boot\r\n{}\r\n"
    asked = [("/boot/files/large", ""), (f"/images/{SHA256}", ""), ("/boot/ipxe", ""), (f"/images/{SHA256}", "")]
    writer.write("".join(lines.format(*one) for one in asked).encode())
    writer.write(lines.format("/boot/files/grub/grub.cfg", "Connection: close\r\n").encode())
    rest = await reader.read()
    for expected in (FILES["large"], IMAGE, None, IMAGE, FILES["grub/grub.cfg"]):
        answer = Answer.parsed(rest)
        length = int(answer.headers["Content-Length"])
        assert answer.status == 200
        assert expected is None or answer.body[:length] == expected
        rest = answer.body[length:]
    assert rest == b""
    writer.close()


SECRET = "secret"


@pytest.mark.parametrize(
    "path",
    [
        "/boot/files/missing",
        "/boot/files/grub",
        "/boot/files/grub/",
        "/boot/files//grub/grub.cfg",
        "/boot/files/./grub/grub.cfg",
        "/boot/files/..%2fsecret",
        "/boot/files/%2e%2e%2fsecret",
        "/boot/files/%252e%252e%252fsecret",
        "/boot/files/../../secret",
        "/boot/files/../../../../../../../../etc/passwd",
        "/boot/files/grub%00.cfg",
        "/boot/files/snponly.efi%00",
        "/boot/files/%ff%fe",
        "/boot/files/" + "a" * 5000,
        "/boot/files/",
        "/images/notes.txt",
        "/images/" + "b" * 64,
        "/images/" + "a" * 64,
        "/images/" + "c" * 64,
        "/images/" + "d" * 64,
        "/images/" + SHA256.upper(),
        "/images/" + SHA256 + "%00",
        "/images/" + SHA256 + "%0a",
        "/images/..%2fsecret",
        "/images/%2e%2e/secret",
        "/images/%252e%252e%252fsecret",
        "/images/../secret",
        "/images//" + SHA256,
    ],
)
async def test_everything_else_is_not_found(served: Served, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (served.images / "notes.txt").write_text(SECRET)
    (served.images / ("a" * 64)).symlink_to(tmp_path / "secret")
    (served.images / ("c" * 64)).mkdir()
    os.mkfifo(served.images / ("d" * 64))
    answer = await served.get(path)
    assert answer.status == 404
    assert SECRET.encode() not in answer.body


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_nothing_is_written(served: Served, method: str) -> None:
    for path in ("/boot/files/snponly.efi", f"/images/{SHA256}"):
        assert (await served.get(path, "Content-Length: 0", method=method)).status == 405


async def _begun(served: Served, sha256: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
    """A download whose headers are here, and its length; the reader takes no more than it is asked for."""
    reader, writer = await served.connect(limit=1 << 16)
    writer.write(f"GET /images/{sha256} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
    answer = Answer.parsed(await reader.readuntil(b"\r\n\r\n"))
    return reader, writer, int(answer.headers["Content-Length"])


async def test_a_file_that_is_replaced_stays_whole(served: Served) -> None:
    old, new = b"o" * 50_000_000, b"n" * 50_000_000
    sha256 = served.add_image(old)
    reader, writer, length = await _begun(served, sha256)
    (served.images / "new").write_bytes(new)
    (served.images / "new").rename(served.images / sha256)
    assert await reader.readexactly(length) == old
    writer.close()


async def test_a_file_that_becomes_shorter_ends_the_connection(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    sha256 = served.add_image(b"o" * 50_000_000)
    reader, writer, length = await _begun(served, sha256)
    os.truncate(served.images / sha256, 0)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(length)
    writer.close()
    out, err = capfd.readouterr()
    assert (out + err).count("http_cut_off") == 1
    assert "the file is shorter than it was" in out + err


async def test_a_reader_that_has_stopped_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, HttpSettings(stall_s=0.2)) as served:
        sha256 = served.add_image(bytes(100_000_000))
        reader, writer, length = await _begun(served, sha256)
        while served.counters.snapshot().get("http_bytes") is None:
            await asyncio.sleep(0.05)
        # Neither we nor the kernel hold the image for it: what waits is what fits into the sockets' buffers.
        assert served.counters.snapshot()["http_bytes"] < 20_000_000
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(length)
        writer.close()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_client_that_goes_away_frees_everything(served: Served) -> None:
    sha256 = served.add_image(bytes(100_000_000))
    await served.get("/boot/ipxe")
    before = _open_files()
    for number in range(20):
        _, writer, _ = await _begun(served, sha256)
        writer.transport.abort() if number % 2 else writer.close()
    while _open_files() > before:
        await asyncio.sleep(0.05)
    async with ClientSession() as client, client.get(f"{served.url}/images/{sha256}") as response:
        assert len(await response.read()) == 100_000_000

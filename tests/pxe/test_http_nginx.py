"""nginx in front, with the configuration that we print: it sends the images, and machines stay who they are."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pxe.http import HttpSettings
from pxe.nginx import ACCEL_LOCATION, configuration
from pxe.pacing import Rates
from service.lab.ports import free_port
from tests.pxe.http_world import FILES, HOST, IMAGE, SHA256, Served, serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs the package nginx-light")

ETAG = f'"{SHA256}"'
LAST = len(IMAGE) - 1
FRONT = "127.0.0.1"

# A test's folder is its owner's, so the worker is that user as well.
_MAIN = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/roundhouse.conf;
}}
"""


@asynccontextmanager
async def nginx(folder: Path, served: Served) -> AsyncIterator[Served]:
    """The same service through nginx."""
    port = free_port(socket.SOCK_STREAM, FRONT)
    (folder / "nginx").mkdir()
    text = configuration([f"{FRONT}:{port}"], f"{served.host}:{served.port}", served.images)
    (folder / "nginx" / "roundhouse.conf").write_text(text)
    (folder / "nginx" / "nginx.conf").write_text(_MAIN.format(folder=folder / "nginx", user=getpass.getuser()))
    command = [str(NGINX), "-p", str(folder / "nginx"), "-e", "stderr", "-c", str(folder / "nginx" / "nginx.conf")]
    checked = await asyncio.to_thread(subprocess.run, [*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = await asyncio.create_subprocess_exec(*command)
    try:
        front = replace(served, host=FRONT, port=port)
        while process.returncode is None:
            try:
                _, writer = await front.connect()
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        yield front
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def both(folder: Path, rates: Rates | None = None) -> AsyncIterator[tuple[Served, Served]]:
    """The service, which trusts nginx alone; and nginx."""
    settings = HttpSettings(rates or Rates(), accel_location=ACCEL_LOCATION)
    async with serving(folder, settings, proxies=frozenset({FRONT})) as served, nginx(folder, served) as front:
        yield served, front


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ([], 200, IMAGE, None),
        (["Range: bytes=1000-"], 206, IMAGE[1000:], f"bytes 1000-{LAST}/{LAST + 1}"),
        (["Range: bytes=-7"], 206, IMAGE[-7:], f"bytes {LAST - 6}-{LAST}/{LAST + 1}"),
        (["Range: bytes=0-1,5-6"], 200, IMAGE, None),
        (["Range: bytes=1000-", f"If-Range: {ETAG}"], 206, IMAGE[1000:], f"bytes 1000-{LAST}/{LAST + 1}"),
        (["Range: bytes=1000-", 'If-Range: "other"'], 200, IMAGE, None),
        ([f"Range: bytes={LAST + 1}-"], 416, None, f"bytes */{LAST + 1}"),
        ([f"If-None-Match: {ETAG}"], 304, b"", None),
        (['If-None-Match: "other"'], 200, IMAGE, None),
        (['If-Match: "other"'], 412, None, None),
        ([f"if-match: {ETAG}"], 200, IMAGE, None),
        (["If-Unmodified-Since: Wed, 21 Oct 2015 07:28:00 GMT"], 200, IMAGE, None),
        (["If-Modified-Since: Wed, 21 Oct 2065 07:28:00 GMT"], 200, IMAGE, None),
    ],
)
async def test_an_image_is_the_same_through_nginx(
    tmp_path: Path, headers: list[str], status: int, body: bytes | None, content_range: str | None
) -> None:
    async with both(tmp_path) as (served, front):
        answer = await front.get(f"/images/{SHA256}", *headers)
        direct = await served.get(f"/images/{SHA256}", *headers, local=HOST)
    assert (answer.status, direct.status) == (status, status)
    for name in ("Content-Range", "ETag", "Cache-Control", "Accept-Ranges", "Content-Type", "Content-Length"):
        if status < 400 or name == "Content-Range":
            assert answer.headers.get(name) == direct.headers.get(name), name
    assert "Last-Modified" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("X-Accel")]
    assert answer.headers.get("Content-Range") == content_range
    assert body is None or answer.body == body


async def test_the_service_does_not_send_what_nginx_sends(tmp_path: Path) -> None:
    async with both(tmp_path) as (served, front):
        assert (await front.get(f"/images/{SHA256}")).body == IMAGE
        assert served.counters.snapshot() == {"http_images": 1}
        # Whoever calls the service itself gets the image from it.
        assert (await served.get(f"/images/{SHA256}", local=HOST)).body == IMAGE
        assert served.counters.snapshot()["http_bytes"] == len(IMAGE)


async def test_a_file_is_told_as_it_is_sent(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, front):
        for path, size in ((f"/images/{SHA256}", len(IMAGE)), ("/boot/files/snponly.efi", len(FILES["snponly.efi"]))):
            told = await front.get(path, method="HEAD")
            assert (told.status, told.headers["Content-Length"], told.body) == (200, str(size), b"")


async def test_a_machine_stays_who_it_is(tmp_path: Path) -> None:
    async with both(tmp_path) as (served, front):
        assert (await front.get("/boot/ipxe", local=HOST)).body.startswith(b"#!ipxe")
        for forged in (f"X-Forwarded-For: {HOST}", f"X_Forwarded_For: {HOST}", f"Forwarded: for={HOST}"):
            assert (await front.get("/boot/ipxe", forged, local="127.77.2.9")).status == 404
        assert served.sources == [HOST, "127.77.2.9", "127.77.2.9", "127.77.2.9"]
        assert (await front.get("/boot/files/grub/grub.cfg")).body == FILES["grub/grub.cfg"]


@pytest.mark.parametrize(
    "path",
    [
        f"{ACCEL_LOCATION}/{SHA256}",
        f"/x/..{ACCEL_LOCATION}/{SHA256}",
        f"/internal%2fimages/{SHA256}",
        f"/%69nternal/images/{SHA256}",
        f"//internal/images/{SHA256}",
        f"{ACCEL_LOCATION}/../secret",
        "/images/" + "a" * 64,
        "/images/..%2f..%2fsecret",
    ],
)
async def test_the_internal_location_cannot_be_reached(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    async with both(tmp_path) as (served, front):
        (served.images / ("a" * 64)).symlink_to(tmp_path / "secret")
        answer = await front.get(path)
    assert answer.status in (400, 404)
    assert b"secret" not in answer.body and IMAGE not in answer.body


async def test_a_rack_shares_what_it_may_have(tmp_path: Path) -> None:
    settings = HttpSettings(Rates(rack=8_000_000), accel_location=ACCEL_LOCATION)
    async with serving(tmp_path, settings, proxies=frozenset({FRONT}), rack_of=lambda _: "rack") as served:
        large = served.add_image(bytes(100_000_000))
        told = []
        for number in range(3):
            answer = await served.get(f"/images/{large}", f"X-Forwarded-For: 127.77.3.{number}")
            told.append(answer.headers["X-Accel-Limit-Rate"])
        assert told == ["8000000", "4000000", "2666666"]


async def test_nginx_keeps_the_rate_that_it_is_given(tmp_path: Path) -> None:
    async with both(tmp_path, Rates(machine=1_000_000)) as (served, front):
        sha256 = served.add_image(os.urandom(30_000_000))
        told = await served.get(f"/images/{sha256}", f"X-Forwarded-For: {HOST}")
        assert told.headers["X-Accel-Limit-Rate"] == "1000000"
        reader, writer = await front.connect()
        writer.write(f"GET /images/{sha256} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
        got, until = 0, asyncio.get_running_loop().time() + 2
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(left):
                    got += len(await reader.read(1 << 16))
            except TimeoutError:
                break
        writer.close()
        assert 0 < got < 6_000_000


@pytest.mark.parametrize(
    ("listen", "service", "images", "named"),
    [
        ([], "127.0.0.1:81", "/images", "listen"),
        (["127.0.0.1"], "127.0.0.1:81", "/images", "listen"),
        (["127.0.0.1:80"], "boot;:81", "/images", "service"),
        (["127.0.0.1:80"], "127.0.0.1:81", "/a b", "images_dir"),
        (["127.0.0.1:80"], "127.0.0.1:81", "images", "images_dir"),
    ],
    ids=["none", "no-port", "service", "space", "relative"],
)
def test_what_cannot_stand_in_it(listen: list[str], service: str, images: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}: "):
        configuration(listen, service, Path(images))

"""HTTP boot over a real socket: scripts by source address, files, images by hash, and nothing outside."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, web
from yarl import URL

from pxe.decide import Script, Target
from pxe.http import boot_routes

IMAGE = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(IMAGE).hexdigest()
HOST = "127.77.2.25"


@dataclass
class Served:
    url: str
    queries: list[Mapping[str, str]]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    files, images = tmp_path / "files", tmp_path / "images"
    files.mkdir()
    images.mkdir()
    (files / "vmlinuz").write_bytes(b"kernel")
    (files / "folder").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (files / "link").symlink_to(tmp_path / "secret")
    (images / SHA256).write_bytes(IMAGE)
    (images / "notes.txt").write_bytes(b"secret")
    (images / ("a" * 64)).symlink_to(tmp_path / "secret")
    queries: list[Mapping[str, str]] = []

    async def script_for(source: IPv4Address | IPv6Address, query: Mapping[str, str]) -> Script | None:
        queries.append(query)
        return Script(Target.LOCAL_DISK) if source == IPv4Address(HOST) else None

    app = web.Application()
    app.add_routes(boot_routes(script_for, files, images))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Served(f"http://127.0.0.1:{runner.addresses[0][1]}", queries)
    await runner.cleanup()


async def test_the_script_follows_the_source_address(served: Served) -> None:
    url = f"{served.url}/boot/ipxe?mac=52:54:00:00:01:01"
    async with (
        ClientSession(connector=TCPConnector(local_addr=(HOST, 0))) as machine,
        machine.get(url) as response,
    ):
        assert response.status == 200
        assert (await response.text()).startswith("#!ipxe")
        assert response.headers["Cache-Control"] == "no-store"
    assert dict(served.queries[0]) == {"mac": "52:54:00:00:01:01"}
    async with ClientSession() as stranger, stranger.get(f"{served.url}/boot/ipxe") as response:
        assert response.status == 404
        assert response.content_type == "text/plain"


async def test_an_image_is_cacheable_and_resumable(served: Served) -> None:
    url = f"{served.url}/images/{SHA256}"
    async with ClientSession() as client:
        async with client.get(url) as response:
            assert await response.read() == IMAGE
            assert response.headers["ETag"] == f'"{SHA256}"'
            assert "immutable" in response.headers["Cache-Control"]
            assert response.headers["Content-Length"] == str(len(IMAGE))
        async with client.get(url, headers={"Range": "bytes=1000-"}) as response:
            assert response.status == 206
            assert await response.read() == IMAGE[1000:]
            assert response.headers["Content-Range"] == f"bytes 1000-{len(IMAGE) - 1}/{len(IMAGE)}"
        async with client.get(url, headers={"If-None-Match": f'"{SHA256}"'}) as response:
            assert response.status == 304
        async with client.get(url, headers={"If-None-Match": '"other"'}) as response:
            assert response.status == 200
        async with client.head(url) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, str(len(IMAGE)))


async def test_files(served: Served) -> None:
    async with ClientSession() as client, client.get(f"{served.url}/boot/files/vmlinuz") as response:
        assert await response.read() == b"kernel"


@pytest.mark.parametrize(
    "path",
    [
        "/boot/files/missing",
        "/boot/files/folder",
        "/boot/files/link",
        "/boot/files/..%2fsecret",
        "/boot/files/%2e%2e%2fsecret",
        "/boot/files/../../secret",
        "/boot/files/.hidden",
        "/boot/files/",
        "/images/notes.txt",
        "/images/" + "b" * 64,
        "/images/" + "a" * 64,
        "/images/" + SHA256.upper(),
        "/images/..%2fsecret",
    ],
)
async def test_everything_else_is_not_found(served: Served, path: str) -> None:
    async with ClientSession() as client, client.get(URL(served.url + path, encoded=True)) as response:
        assert response.status == 404
        assert b"secret" not in await response.read()

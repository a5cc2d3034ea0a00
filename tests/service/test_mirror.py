"""The package mirror: real apt and curl before it, an upstream mirror behind it that can fail in every way."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pxe.counters import Counters
from pxe.http_server import serve_http
from service.mirror.cache import About, Cache
from service.mirror.paths import NoSuchFile, Upstream, read_mirrors, upstream_of
from service.mirror.routes import open_mirror
from service.parts import Parts
from service.settings import BadSetting, Settings
from service.wiring import make_parts
from tests.images.build.archive import Archive, require_archive_tools

CONTENT = bytes(range(256)) * 4000  # about 1 MB


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class World:
    """A mirror with what is behind it."""

    parts: Parts
    clock: SetClock
    asked: list[tuple[str, str]] = field(default_factory=list)  # method and path of what came upstream
    heard: list[tuple[str, int]] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    url: str = ""

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one request on a connection of its own."""
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, f"{self.url}/mirror/{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.read(), dict(answer.headers)

    async def fetched(self, path: str, **headers: str) -> bytes:
        """The body, when the file is on the disk as well."""
        body = (await self.get(path, **headers))[1]
        while any(kept.name.startswith(".") for kept in self.kept):
            await asyncio.sleep(0.01)
        return body

    @property
    def kept(self) -> list[Path]:
        """The files on the disk."""
        return [path for path in (self.parts.settings.state_dir / "packages").rglob("*") if path.is_file()]

    @property
    def bytes_kept(self) -> int:
        """What the files on the disk take."""
        size = 0
        for path in self.kept:
            with suppress(FileNotFoundError):  # it has just made room
                size += path.stat().st_size
        return size

    async def emptied(self) -> None:
        """Return when nothing is on the disk any more."""
        async with asyncio.timeout(60):
            while self.kept:
                await asyncio.sleep(0.01)


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=256)


@asynccontextmanager
async def mirrored(folder: Path, limit: int = 1 << 30, upstream: str | None = None) -> AsyncIterator[World]:
    """A mirror named `debian` while the block runs, before `upstream` or before `World.answer`."""
    behind, front = listen(), listen()
    base = upstream or f"http://127.0.0.1:{behind.getsockname()[1]}/some/where"
    settings = Settings(state_dir=folder, package_mirrors=f"debian={base}/", package_cache_bytes=limit)
    world = World(make_parts(settings, boot_port=0), SetClock())
    world.parts = Parts(**{name: getattr(world.parts, name) for name in Parts.__slots__} | {"clock": world.clock})

    async def answer(request: web.Request) -> web.StreamResponse:
        world.asked.append((request.method, request.path))
        assert world.answer is not None
        return await world.answer(request)

    async def heard(_source: IPv4Address | IPv6Address, asked: Upstream, status: int) -> None:
        world.heard.append((asked.name, status))

    upstream_app, app = web.Application(), web.Application()
    upstream_app.router.add_get("/some/where/{path:.*}", answer)
    runner = web.AppRunner(upstream_app, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, behind).start()
    async with open_mirror(world.parts, Counters(), heard) as mirror:
        app.add_routes(mirror.routes())
        async with serve_http(app, [front]):
            world.url = f"http://127.0.0.1:{front.getsockname()[1]}"
            yield world
    await runner.cleanup()


async def whole(_request: web.Request) -> web.StreamResponse:
    headers = {"ETag": '"one"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Type": "application/x-test"}
    return web.Response(body=CONTENT, headers=headers)


async def test_a_package_is_fetched_once_and_kept(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        world.answer = whole
        for _ in range(3):
            status, body, headers = await world.get("debian/pool/main/a/a~b+c/a_1%3a2.deb")
            assert (status, body, headers["Content-Type"]) == (200, CONTENT, "application/x-test")
            await world.fetched("debian/pool/main/a/a~b+c/a_1%3a2.deb")
            world.clock.at += timedelta(days=400)
        assert world.asked == [("GET", "/some/where/pool/main/a/a~b+c/a_1:2.deb")]
        assert world.heard == [("debian/pool/main/a/a~b+c/a_1:2.deb", 200)] * 6
    async with mirrored(tmp_path) as again:  # a service that was started anew has it still
        assert (await again.get("debian/pool/main/a/a~b+c/a_1%3a2.deb"))[1] == CONTENT


async def test_an_index_is_asked_for_again_after_a_minute(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        seen: list[str | None] = []

        async def same(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers.get("If-None-Match"))
            return web.Response(status=304) if seen[-1] == '"one"' else await whole(request)

        world.answer = same
        path = "debian/dists/bookworm/InRelease"
        for pause in (0, 59, 2, 1):
            world.clock.at += timedelta(seconds=pause)
            assert await world.fetched(path) == CONTENT
        assert seen == [None, '"one"']
        world.clock.at += timedelta(minutes=2)

        async def new(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=b"new", headers={"ETag": '"two"'})

        world.answer = new
        assert await world.fetched(path) == b"new"
        assert await world.fetched(path) == b"new"

        async def gone(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPNotFound

        world.clock.at += timedelta(minutes=2)
        world.answer = gone
        assert (await world.get(path))[0] == 404
        await world.emptied()


async def test_a_client_that_insists_gets_what_is_there_now(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        world.answer = whole
        await world.fetched("debian/pool/a.deb")
        await world.fetched("debian/pool/a.deb", **{"Cache-Control": "no-cache"})
        assert len(world.asked) == 2


async def test_many_who_ask_at_once_are_one_fetch_and_read_along(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        gate = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"ETag": '"one"'})
            response.content_length = len(CONTENT)
            await response.prepare(request)
            await response.write(CONTENT[:300_000])
            await gate.wait()
            await response.write(CONTENT[300_000:])
            return response

        world.answer = slow
        async with aiohttp.ClientSession() as session, session.get(f"{world.url}/mirror/debian/a.deb") as early:
            assert await early.content.readexactly(300_000) == CONTENT[:300_000]
            others = [asyncio.create_task(world.get("debian/a.deb")) for _ in range(20)]
            status, body, headers = await world.get("debian/a.deb", Range="bytes=10-99")
            assert (status, body) == (206, CONTENT[10:100])
            assert headers["Content-Range"] == f"bytes 10-99/{len(CONTENT)}"
            gate.set()
            assert await early.content.read() == CONTENT[300_000:]
        assert [body for _, body, _ in await asyncio.gather(*others)] == [CONTENT] * 20
        assert len(world.asked) == 1


async def test_what_is_kept_outlives_the_upstream_mirror(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        world.answer = whole
        await world.fetched("debian/dists/Release")
        world.clock.at += timedelta(days=1)

        async def broken(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=503)

        async def cut(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        for answer in (broken, cut):
            world.answer = answer
            assert (await world.get("debian/dists/Release"))[:2] == (200, CONTENT)
            status, body, _ = await world.get("debian/dists/Other")
            assert status == 502
            assert body.startswith(b"debian")


async def test_half_a_file_is_neither_kept_nor_taken_for_whole(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:

        async def half(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.content_length = len(CONTENT)
            await response.prepare(request)
            await response.write(CONTENT[:500_000])
            assert request.transport is not None
            request.transport.close()
            return response

        world.answer = half
        with pytest.raises(aiohttp.ClientPayloadError):
            await world.get("debian/a.deb")
        await world.emptied()
        world.answer = whole
        assert (await world.get("debian/a.deb"))[1] == CONTENT


async def test_a_file_of_unknown_length_is_answered_with_its_length(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:

        async def chunked(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            for at in range(0, len(CONTENT), 100_000):
                await response.write(CONTENT[at : at + 100_000])
            return response

        world.answer = chunked
        status, body, headers = await world.get("debian/list")
        assert (status, body, headers["Content-Length"]) == (200, CONTENT, str(len(CONTENT)))


async def test_head_and_conditions_and_bad_ranges(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        world.answer = whole
        for _ in range(2):  # of what is not kept, and of what is
            status, body, headers = await world.get("debian/a.deb", "HEAD")
            assert (status, body, headers["Content-Length"]) == (200, b"", str(len(CONTENT)))
            await world.fetched("debian/a.deb")
        assert [method for method, _ in world.asked] == ["HEAD", "GET"]
        assert (await world.get("debian/a.deb", **{"If-None-Match": '"one"'}))[0] == 304
        since = {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
        assert (await world.get("debian/a.deb", **since))[0] == 304
        assert (await world.get("debian/a.deb", Range=f"bytes={len(CONTENT)}-"))[0] == 416
        assert (await world.get("debian/a.deb", Range="bytes=-5"))[:2] == (206, CONTENT[-5:])


async def test_the_least_wanted_go_when_room_is_needed(tmp_path: Path) -> None:
    async with mirrored(tmp_path, limit=5 * len(CONTENT)) as world:
        world.answer = whole
        for number in range(4):
            world.clock.at += timedelta(seconds=1)
            await world.fetched(f"debian/{number}.deb")
        world.clock.at += timedelta(seconds=1)
        await world.fetched("debian/0.deb")  # wanted again, so 1 is the one that goes first
        world.clock.at += timedelta(seconds=1)
        await world.fetched("debian/4.deb")
        # A file has its place a moment before there is room for it.
        async with asyncio.timeout(60):
            while world.bytes_kept > 5 * len(CONTENT):
                await asyncio.sleep(0.01)
        world.asked.clear()
        await world.get("debian/0.deb")
        await world.get("debian/4.deb")
        assert world.asked == []
        await world.get("debian/1.deb")
        assert world.asked == [("GET", "/some/where/1.deb")]


async def test_a_file_larger_than_the_cache_is_passed_on(tmp_path: Path) -> None:
    async with mirrored(tmp_path, limit=1000) as world:
        world.answer = whole
        assert await world.fetched("debian/a.iso") == CONTENT
        assert world.kept == []


def test_a_file_that_was_torn_is_fetched_anew(tmp_path: Path) -> None:
    cache, now = Cache(tmp_path, 1 << 20), datetime.now(UTC)
    draft = cache.draft(About("debian/a", '"x"', "", "text/plain"))
    os.write(draft.fd, b"content")
    cache.keep(draft, "debian/a", now=now)
    os.close(draft.fd)
    kept = cache.find("debian/a")
    assert kept is not None and os.pread(kept.fd, 99, kept.start) == b"content"
    os.close(kept.fd)
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:9])
    assert cache.find("debian/a") is None


async def test_nothing_outside_the_mirrors_is_served(tmp_path: Path) -> None:
    async with mirrored(tmp_path) as world:
        world.answer = whole
        for path in ("other/a.deb", "debian/", "debian/a/", "debian/%2e%2e/%2e%2e/etc/passwd", "debian//a"):
            assert (await world.get(path))[0] == 404, path
        assert world.asked == []


@given(st.text(max_size=60) | st.text(alphabet="ab./%\\@:?#~+ ", max_size=30))
def test_a_path_leads_nowhere_else(path: str) -> None:
    base = "http://mirror.example/debian"
    try:
        found = upstream_of({"debian": base}, "debian", path)
    except NoSuchFile:
        return
    parts = urlsplit(found.url)
    assert (parts.netloc, parts.query, parts.fragment) == ("mirror.example", "", "")
    assert unquote(parts.path) == f"/debian/{path}"
    assert ".." not in parts.path.split("/")


@pytest.mark.parametrize("setting", ["debian", "=http://x", "Debian=http://x", "debian=ftp://x/", "debian=http://x/?a"])
def test_a_wrong_mirror_is_refused_by_name(setting: str) -> None:
    with pytest.raises(BadSetting, match="package_mirrors: "):
        read_mirrors(setting)


async def test_apt_installs_from_it_and_without_upstream(tmp_path: Path) -> None:
    require_archive_tools()
    archive = Archive(tmp_path)
    archive.package("hello-there", "1.0~beta+1", {}, {"usr/share/hello": "x" * 100_000})
    archive.publish("bookworm", origin="Test", components=("main",))
    app = web.Application()
    app.router.add_static("/debian", archive.folder)
    runner = web.AppRunner(app)
    await runner.setup()
    behind = listen()
    await web.SockSite(runner, behind).start()
    base = f"http://127.0.0.1:{behind.getsockname()[1]}/debian"
    async with mirrored(tmp_path / "state", upstream=base) as world:

        async def install(folder: Path) -> bytes:
            for name in ("state/lists/partial", "cache/archives/partial"):
                (folder / name).mkdir(parents=True)
            (folder / "status").touch()
            sources = folder / "sources.list"
            sources.write_text(f"deb [signed-by={archive.keyring}] {world.url}/mirror/debian bookworm main\n")
            settings = {
                "Dir::State": folder / "state",
                "Dir::State::status": folder / "status",
                "Dir::Cache": folder / "cache",
                "Dir::Etc::sourcelist": sources,
                "Dir::Etc::sourceparts": "-",
                "APT::Sandbox::User": "root",
                "APT::Architecture": "amd64",
                "APT::Architectures": "amd64",
                "APT::Update::Error-Mode": "any",
                "Acquire::http::Proxy": "false",
                "Acquire::Languages": "none",
            }
            options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
            for words in (["update"], ["download", "hello-there"]):
                apt = await asyncio.create_subprocess_exec(
                    *("apt-get", *options, "-qq", *words),
                    cwd=folder,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
                said, _ = await apt.communicate()
                assert apt.returncode == 0, said.decode()
            return next(folder.glob("*.deb")).read_bytes()

        first = await install(tmp_path / "one")
        assert first == next(archive.folder.glob("pool/*.deb")).read_bytes()
        await runner.cleanup()
        world.clock.at += timedelta(hours=1)
        assert await install(tmp_path / "two") == first
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("needs Debian's curl")
        name = next(archive.folder.glob("pool/*.deb")).name
        part = await asyncio.create_subprocess_exec(
            *(curl, "-sf", "-r", "100-199", f"{world.url}/mirror/debian/pool/{name}"), stdout=asyncio.subprocess.PIPE
        )
        assert (await part.communicate())[0] == first[100:200]

"""Server-sent events: what happens, as it happens, resumed where a reader was, ended with his rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.api import streams
from service.store.events import add_event
from service.store.rows import Pool
from tests.service.api_world import TOKEN, World, open_world
from tests.service.test_webhooks import happen, hooks_run


@pytest.fixture
async def streaming(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API, and a worker that numbers events."""
    async with open_world(db, database_url, tmp_path) as opened, hooks_run(db, database_url, tmp_path):
        yield opened


class Reader:
    """A reader of a stream: frames as dictionaries of their fields, comments under "comment"."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def frame(self) -> dict[str, str]:
        """The next frame; raises EOFError behind the last."""
        found: dict[str, str] = {}
        async with asyncio.timeout(60):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    return found
                name, _, value = line.rstrip("\n").partition(": ")
                found[name or "comment"] = value
        raise EOFError

    async def event(self) -> tuple[str, dict[str, Any]]:
        """The next event with its id."""
        while "data" not in (frame := await self.frame()):
            pass
        return frame["id"], json.loads(frame["data"])


@asynccontextmanager
async def reading(world: World, path: str, *, token: str = TOKEN, last: str | None = None) -> AsyncIterator[Reader]:
    headers = {"X-Auth-Token": token} | ({"Last-Event-ID": last} if last else {})
    async with world.http.get(f"{world.url}{path}", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Reader(response)


async def test_a_stream_tells_what_happens_from_now_on_and_resumes(streaming: World) -> None:
    path = f"/projects/{streaming.project}/events/stream"
    async with reading(streaming, path) as reader:
        began = await reader.frame()
        assert "data" not in began and began["retry"] == "2000"
        await happen(streaming, 3, type_="user.1001")
        seen = [await reader.event() for _ in range(3)]
    assert [one["body"] for _, one in seen] == ["thing 0", "thing 1", "thing 2"]
    assert [id_ for id_, one in seen] == [one["cursor"] for _, one in seen]
    await happen(streaming, 150)
    async with reading(streaming, path, last=seen[1][0]) as reader:
        again = [await reader.event() for _ in range(151)]
    assert again[0] == seen[2]
    assert [one["body"] for _, one in again[1:]] == [f"thing {number}" for number in range(150)]
    async with reading(streaming, f"{path}?after={seen[1][0]}") as reader:
        assert await reader.event() == seen[2]


async def test_customers_see_no_private_events(streaming: World) -> None:
    path, token = f"/projects/{streaming.project}/events/stream", await streaming.tenant_token()
    async with reading(streaming, path, token=token) as customer, reading(streaming, path) as staff:
        await customer.frame()
        await staff.frame()
        await happen(streaming, private=True, type_="failure")
        await happen(streaming)
        assert (await customer.event())[1]["type"] == "user.1000"
        assert (await staff.event())[1]["private"] is True
        assert (await staff.event())[1]["type"] == "user.1000"


async def test_a_stream_ends_with_the_token(streaming: World) -> None:
    path, token = f"/projects/{streaming.project}/events/stream", await streaming.tenant_token()
    async with reading(streaming, path, token=token) as reader:
        await reader.frame()
        await streaming.db.execute("DELETE FROM api_token WHERE digest = sha256($1::bytea)", token.encode())
        await happen(streaming)
        with pytest.raises(EOFError):
            await reader.frame()


async def test_a_device_s_stream_ends_when_it_is_deleted(streaming: World) -> None:
    await streaming.add_machines(1)
    device = (await streaming.order()).body["id"]
    await streaming.add_machines(1)
    other = (await streaming.order(hostname="other")).body["id"]
    async with reading(streaming, f"/devices/{device}/events/stream") as reader:
        await reader.frame()
        for id_ in (other, device):
            async with streaming.db.acquire() as conn, conn.transaction():
                await add_event(conn, "user.1000", f"hello of {id_}", device_id=id_)
        assert (await reader.event())[1]["body"] == f"hello of {device}"
        assert (await streaming.call("DELETE", f"/devices/{device}")).status == 204
        types = []
        with pytest.raises(EOFError):
            while True:
                types.append((await reader.event())[1]["type"])
        assert sorted(types) == ["device.delete", "instance.deleted"]
    assert (await streaming.call("GET", f"/devices/{device}/events/stream")).status == 404


async def test_a_silent_stream_beats(streaming: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.2)
    async with reading(streaming, f"/projects/{streaming.project}/events/stream") as reader:
        await reader.frame()
        assert await reader.frame() == {"comment": "still here"}


def connected(ours: int, theirs: int) -> bool:
    """Whether this machine's end of a connection, known by its ports, is still open (proc(5): /proc/net/tcp)."""
    ends = [f":{ours:04X}", f":{theirs:04X}"]
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any([row[1][-5:], row[2][-5:]] == ends and row[3] == "01" for row in rows)


async def test_a_reader_that_takes_nothing_is_cut_off(streaming: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SLOW_S", 0.5)
    path = f"/projects/{streaming.project}/events/stream"
    reader, writer = await asyncio.open_connection(*streaming.url.removeprefix("http://").split(":"), limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\n\r\n".encode())
    assert b"200" in await reader.readline()
    async with streaming.db.acquire() as conn, conn.transaction():
        for _ in range(150):
            await add_event(conn, "user.1000", "x" * 100_000, project_id=streaming.project)
    ports = [writer.get_extra_info(end)[1] for end in ("peername", "sockname")]
    async with asyncio.timeout(60):
        while connected(*ports):
            await asyncio.sleep(0.05)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        while True:
            await reader.readexactly(1 << 16)
    writer.close()


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
async def test_what_is_no_cursor_is_refused(world: World, after: str) -> None:
    for path in ("events", "events/stream"):
        answer = await world.call("GET", f"/projects/{world.project}/{path}?after={after}")
        assert answer.status == 422 and answer.body["errors"][0].startswith("after is not valid")


async def test_head_of_a_stream_ends(streaming: World) -> None:
    answer = await streaming.call("HEAD", f"/projects/{streaming.project}/events/stream")
    assert answer.status == 200


async def test_the_additions_are_below_v1_too(streaming: World) -> None:
    async with reading(streaming, f"/v1/projects/{streaming.project}/events/stream") as reader:
        await reader.frame()
        await happen(streaming)
        assert (await reader.event())[1]["body"] == "thing 0"
    answer = await streaming.call("GET", f"/v1/projects/{streaming.project}/webhooks")
    assert (answer.status, answer.body) == (200, {"webhooks": []})

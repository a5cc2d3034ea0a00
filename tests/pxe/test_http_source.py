"""Whose request it is: no machine can say that it is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pxe.http_world import HOST, HOST6, serving

PROXY = "127.77.2.1"
OTHER = "127.77.2.9"


@pytest.mark.parametrize(
    ("local", "forwarded", "source"),
    [
        (OTHER, [HOST], OTHER),
        (HOST, [OTHER], HOST),
        (PROXY, [HOST], HOST),
        (PROXY, [OTHER], OTHER),
        (PROXY, ["::ffff:" + HOST], HOST),
        (PROXY, ["2001:db8::5"], "2001:db8::5"),
        (PROXY, [], None),
        (PROXY, [""], None),
        (PROXY, [f"{HOST}, {OTHER}"], None),
        (PROXY, [HOST, OTHER], None),
        (PROXY, [f"{HOST}:80"], None),
        (PROXY, ["unknown"], None),
    ],
)
async def test_only_a_proxy_speaks_for_others(
    tmp_path: Path, local: str, forwarded: list[str], source: str | None
) -> None:
    async with serving(tmp_path, proxies=frozenset({PROXY})) as served:
        headers = [f"X-Forwarded-For: {one}" for one in forwarded]
        answer = await served.get(
            "/boot/ipxe", *headers, "X-Real-IP: 127.77.2.25", "Forwarded: for=127.77.2.25", local=local
        )
        assert served.sources == ([source] if source else [])
        assert answer.status == (200 if source == HOST else 404)


async def test_no_proxy_is_trusted_unless_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.get("/boot/ipxe", f"X-Forwarded-For: {HOST}", local=OTHER)
        assert served.sources == [OTHER]


async def test_ipv6(tmp_path: Path) -> None:
    async with serving(tmp_path, host="::1") as served:
        assert (await served.get("/boot/ipxe")).status == 200
        assert served.sources == [HOST6]


async def test_a_socket_for_both_tells_ipv4_as_ipv4(tmp_path: Path) -> None:
    async with serving(tmp_path, host="::") as served:
        assert (await served.get("/boot/ipxe", local=HOST)).status == 200
        assert served.sources == [HOST]
        served.host = "::1"
        assert (await served.get("/boot/ipxe")).status == 200
        assert served.sources == [HOST, HOST6]

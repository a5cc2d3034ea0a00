"""`roundhouse grant`: who may do what, by names that people know."""

from __future__ import annotations

import asyncio
import json

import pytest
import structlog

from service.cli.main import main
from tests.service.api_world import TOKEN, World


async def test_grants_on_the_command_line(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    await world.tenant_token()

    async def run(*words: str) -> tuple[int, str, str]:
        with structlog.testing.capture_logs():  # the API's log is not the command's output
            status = await asyncio.to_thread(main, ["grant", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    node, tenant = "203.0.113.0/24", "tenant-token@example.org"
    status, out, _ = await run("explain", node, "--user", tenant)
    assert status == 0 and out.splitlines()[-1] == "nothing: no grant on 203.0.113.0/24 or above"
    for kind, name in (("--user", tenant), ("--project", "default"), ("--organization", "Roundhouse")):
        status, out, _ = await run("add", node, "view", kind, name)
        assert status == 0 and name in out
    status, out, _ = await run("list", node, "--json")
    grants = json.loads(out)
    assert [grant["grantee"]["kind"] for grant in grants] == ["user", "project", "organization"]
    status, out, _ = await run("explain", node, "--user", tenant)
    assert status == 0 and out.count("view: allowed by a grant to ") == 3
    for grant in grants[:2]:
        assert (await run("remove", node, grant["id"]))[0] == 0
    status, out, _ = await run("list", node)
    assert "Roundhouse" in out and tenant not in out
    status, out, _ = await run("list", node, "--history")
    assert out.count(f"user:{world.user}") == 5  # three were granted, two revoked
    status, out, err = await run("add", node, "view", "--user", "nobody@example.org")
    assert (status, out) == (1, "") and "0 have the email 'nobody@example.org'" in err
    status, out, err = await run("explain", "198.18.0.0/15")
    assert status == 1 and "there is no prefix 198.18.0.0/15" in err

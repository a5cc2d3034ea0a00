"""A customer comes, works with others and is kept within his quota: the whole of it at the terminal."""

from __future__ import annotations

import asyncio
import json

import pytest
import structlog

from service.cli.main import main
from tests.service.api_world import TOKEN, World


async def test_a_customer_from_the_first_account_on(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)

    async def run(*words: str, token: str = TOKEN) -> tuple[int, str, str]:
        monkeypatch.setenv("ROUNDHOUSE_TOKEN", token)
        with structlog.testing.capture_logs():  # the API's log is not the command's output
            status = await asyncio.to_thread(main, list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    async def made(*words: str, token: str = TOKEN) -> dict[str, str]:
        status, out, err = await run(*words, "--json", token=token)
        assert (status, err) == (0, "")
        found: dict[str, str] = json.loads(out)
        return found

    alice, bob = "alice@example.org", "bob@example.org"
    await made("user", "create", alice, "--organization-name", "Acme")
    await made("user", "create", bob)
    hers = (await made("token", "create", "--user", alice))["token"]
    his = (await made("token", "create", "--user", bob))["token"]
    await made("project", "create", "web", token=hers)
    status, out, _ = await run("quota", "set", "--organization", "Acme", "--devices", "3", "--members", "2")
    assert status == 0 and ["devices", "3", "0"] in [line.split() for line in out.splitlines()]
    status, out, err = await run("quota", "set", "--organization", "Acme", "--devices", "many")
    assert (status, out) == (1, "") and "'many' is neither a number nor none" in err

    invited = await made("invitation", "create", bob, "--project", "web", "--role", "viewer", token=hers)
    status, out, _ = await run("invitation", "list", token=his)
    assert status == 0 and invited["id"] in out
    member = await made("invitation", "accept", invited["id"], token=his)
    status, out, _ = await run("member", "list", "--project", "web", token=hers)
    assert status == 0 and alice in out and bob in out
    status, _, err = await run("project", "delete", "web", "--yes", token=his)
    assert status == 1 and "You are not authorized" in err
    assert (await run("member", "set", member["id"], "admin", token=hers))[0] == 0

    reader = await made("token", "create", "--project", "web", "--read-only", "--description", "monitor", token=his)
    status, out, _ = await run("token", "list", "--project", "web", token=his)
    assert status == 0 and "monitor" in out and reader["token"] not in out
    assert (await run("token", "delete", reader["id"], "--yes", token=his))[0] == 0
    assert (await run("project", "list", token=reader["token"]))[0] == 1
    assert (await run("member", "remove", member["id"], "--yes", token=his))[0] == 0
    status, out, _ = await run("project", "list", token=his)
    assert status == 0 and "web" not in out

    assert (await run("user", "disable", bob))[0] == 0
    status, _, err = await run("user", "show", token=his)
    assert status == 1 and "Invalid authentication token" in err
    status, out, _ = await run("user", "show", bob)
    assert status == 0 and bob in out
    assert (await run("project", "delete", "web", "--yes", token=hers))[0] == 0
    assert (await run("organization", "delete", "Acme", "--yes", token=hers))[0] == 0
    status, out, _ = await run("organization", "list")
    assert status == 0 and "Acme" not in out

"""docs/hooks.md: its receiver is run as it stands there, and what it says of settings is so."""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.hooks.asking import ASKABLE
from service.lab.ports import free_port
from service.settings import Settings
from service.store.rows import Pool
from tests.service.api_world import World, open_world
from tests.service.test_webhooks import LOOPBACK, happen, hooks_run

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


def programs() -> list[str]:
    """The page's receiver, and its sender of mail."""
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def hooked(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(db, database_url, tmp_path, **LOOPBACK) as opened, hooks_run(db, database_url, tmp_path):
        yield opened


async def test_the_receiver_verifies_what_comes(hooked: World) -> None:
    receiver_, _ = programs()
    port = free_port(socket.SOCK_STREAM, "127.0.0.1")
    path = f"/projects/{hooked.project}/webhooks"
    made = (await hooked.call("POST", path, {"url": f"http://127.0.0.1:{port}/hook"})).body
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", receiver_),
        env=os.environ | {"WEBHOOK_SECRET": made["secret"], "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        await happen(hooked, type_="user.1007")
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"user.1007\n"
        await hooked.call("POST", f"{made['href']}/secret", {"overlap_s": 0})
        refused = (await hooked.call("POST", f"{made['href']}/test")).body
        assert (refused["state"], refused["status"]) == ("dead", 400)
    finally:
        process.kill()
        await process.wait()


def executable(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


async def told_of_invitation(world: World, database_url: str, folder: Path, **wish: object) -> bytes:
    """What a hook's program is given when somebody is invited."""
    (hooks := folder / "hooks").mkdir()
    program = executable(hooks / "save", f"#!/bin/sh\ncat > {folder}/told.new\nmv {folder}/told.new {folder}/told\n")
    async with (
        open_world(world.db, database_url, folder, hooks_dir=str(hooks)) as opened,
        hooks_run(world.db, database_url, folder, hooks_dir=str(hooks)),
    ):
        hook = {"name": "mail", "kind": "executable", "target": str(program), "follows": ["invitation.created"]}
        assert (await opened.call("POST", "/admin/v1/hooks", hook)).status == 201
        made = await opened.call("POST", f"/organizations/{world.organization}/invitations", wish)
        assert made.status == 201, made.body
        async with asyncio.timeout(60):
            while not (folder / "told").exists():
                await asyncio.sleep(0.05)
    return (folder / "told").read_bytes()


@pytest.mark.parametrize("name", ["Acme", "Acme\nBcc: others@example.org"], ids=["plain", "line-break"])
async def test_the_mail_of_an_invitation_is_sent_by_the_page_s_program(
    world: World, database_url: str, tmp_path: Path, name: str
) -> None:
    await world.db.execute("UPDATE organization SET name = $1", name)
    wish = {"invitee": "guest@example.org", "roles": ["viewer"], "message": "Schön, dich zu sehen"}
    told = await told_of_invitation(world, database_url, tmp_path, **wish)
    (bin_ := tmp_path / "bin").mkdir()
    executable(bin_ / "sendmail", f'#!/bin/sh\necho "$@" > {tmp_path}/options\ncat > {tmp_path}/mail\n')
    program = executable(
        tmp_path / "invitation-mail", programs()[1].replace("#!/usr/bin/python3", f"#!{sys.executable}")
    )
    process = await asyncio.create_subprocess_exec(
        program, stdin=asyncio.subprocess.PIPE, env={"PATH": f"{bin_}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    )
    await process.communicate(told)
    assert process.returncode == 0 and (tmp_path / "options").read_text() == "-t -oi\n"
    mail = email.message_from_bytes((tmp_path / "mail").read_bytes(), policy=email.policy.default)
    invitation = await world.db.fetchval("SELECT id FROM invitation")
    assert mail["To"] == "guest@example.org" and mail["Bcc"] is None
    assert mail["Subject"] == f"You are invited to {' '.join(name.split())}"
    assert mail["Message-ID"] == f"<invitation-{invitation}@example.org>"
    text = mail.get_content()
    inviter = await world.db.fetchval("SELECT email FROM user_account WHERE id = $1", world.user)
    assert f"{inviter} invites you to" in text and "as viewer." in text and "Schön, dich zu sehen" in text
    settings = Settings()
    assert f"http://{settings.api_host}:{settings.api_port}/invitations/{invitation}\n" in text


def test_the_page_has_every_transition_that_is_asked_and_no_setting_that_is_none() -> None:
    for transition in ASKABLE:
        assert f"| `{transition}` |" in PAGE
    for name in re.findall(r"`((?:hook|webhook|hooks)_\w+)`", PAGE):
        assert hasattr(Settings(), name), name

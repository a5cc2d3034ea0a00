"""How one process reaches hooks: its HTTP sessions, the sealed secrets, the folder of programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import aiohttp

from service.clock import Clock, Jitter
from service.hooks.sending import Answer, BadProgram, execute, post, program_in
from service.hooks.signature import signed_headers
from service.hooks.targets import BadTarget, Network, PublicResolver, check_url, networks_of
from service.secrets import KeyRing, open_sealed
from service.settings import Settings
from service.store.hooks import Hook, Question


class Process(Protocol):
    """What is needed of a process that sends."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def clock(self) -> Clock:
        """Its time."""

    @property
    def key(self) -> KeyRing:
        """What secrets are sealed with."""


@dataclass(frozen=True, slots=True)
class Senders:
    """The ways out: customers' webhooks reach public addresses only, operators' hooks any."""

    process: Process
    networks: tuple[Network, ...]
    public: aiohttp.ClientSession
    anywhere: aiohttp.ClientSession
    jitter: Jitter = field(default_factory=Jitter)

    async def send(self, hook: Hook, delivery_id: UUID, body: bytes, now: datetime) -> Answer:
        """One try to deliver something."""
        secrets = [hook.secret]
        if hook.old_secret is not None and hook.old_secret_until is not None and hook.old_secret_until > now:
            secrets.append(hook.old_secret)
        if hook.kind == "executable":
            return await self._run(hook.target, body, hook.limit_s)
        session = self.anywhere
        if hook.owner.customer:
            session = self.public
            try:
                check_url(hook.target, self.networks)
            except BadTarget as err:
                return Answer(None, str(err), 0.0)
        headers = self._headers(str(delivery_id), body, secrets, now)
        return await post(session, hook.target, body, headers, limit_s=hook.limit_s)

    async def ask(self, question: Question, body: bytes, now: datetime) -> Answer:
        """One try to ask something, with what is left of the question's time."""
        limit_s = max(0.1, (question.until - now).total_seconds())
        if question.kind == "executable":
            return await self._run(question.target, body, limit_s)
        headers = self._headers(str(question.id), body, [question.secret], now)
        return await post(self.anywhere, question.target, body, headers, limit_s=limit_s)

    async def _run(self, path: str, body: bytes, limit_s: float) -> Answer:
        try:
            program = program_in(self.process.settings.hooks_dir, path)
        except BadProgram as err:
            return Answer(None, f"{path}: {err}", 0.0)
        return await execute(program, body, limit_s=limit_s)

    def _headers(self, id_: str, body: bytes, secrets: list[bytes], now: datetime) -> dict[str, str]:
        keys = [open_sealed(self.process.key, sealed) for sealed in secrets]
        return signed_headers(id_, int(now.timestamp()), body, keys)


@asynccontextmanager
async def senders(process: Process) -> AsyncIterator[Senders]:
    """The ways out, while the block runs."""
    networks = networks_of(process.settings.webhook_networks)
    # No cookies and no kept connections: each delivery stands alone, and a name is looked up for each anew.
    public = aiohttp.TCPConnector(resolver=PublicResolver(networks), use_dns_cache=False, force_close=True)
    async with (
        aiohttp.ClientSession(connector=public, cookie_jar=aiohttp.DummyCookieJar()) as outside,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar()
        ) as anywhere,
    ):
        yield Senders(process, networks, outside, anywhere)

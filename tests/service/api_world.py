"""A small world for the API's tests: the real application on a real socket, with a rack of rows behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from aiohttp.web import BaseRunner

from images.catalogue import Catalogue, load_catalogue
from ipam.prefixes import add_prefix, add_vrf
from service.api.app import make_api
from service.seed import seed
from service.settings import Settings
from service.store.accounts import token_digest
from service.store.notify import Hub
from service.store.rows import Pool
from tests.service.documented import watching
from tests.service.parts import make_parts

TOKEN = "staff-token"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMb0z9rBu3MbUrOJ1nZbYo4lWcBqbdfrcuX1qZ6wSd2Q"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """The API under test and who may use it."""

    db: Pool
    http: ClientSession
    url: str
    project: UUID
    user: UUID
    organization: UUID
    catalogue: Catalogue
    runner: BaseRunner
    faults: list[str]  # how answers to anybody were not as documented

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        key: str | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One request as most clients send it."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["X-Auth-Token"] = token
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.http.request(
            method, self.url + path, headers=headers, data=content, json=body if content is None else None
        ) as response:
            text = await response.read()
            assert not self.faults, self.faults
            is_json = response.content_type == "application/json" and text
            return Answer(response.status, await response.json() if is_json else text, response.headers)

    async def order(self, **fields: object) -> Answer:
        """Order a device in the default project."""
        wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1", "hostname": "web1"}
        return await self.call("POST", f"/projects/{self.project}/devices", wish | fields)

    async def other_tenant(self, token: str = "other-token") -> UUID:
        """Another organization with a user of its own; returns its project."""
        async with self.db.acquire() as conn:
            seeded = await seed(
                conn,
                token=token,
                operating_systems=[],
                organization=f"Other {token}",
                project="theirs",
                email=f"{token}@example.org",
            )
            await conn.execute("UPDATE user_account SET staff_role = NULL WHERE id = $1", seeded.user_id)
        return seeded.project_id

    async def tenant_token(self, token: str = "tenant-token") -> str:
        """A token of an owner of the first organization who is no staff."""
        user = await self.add_user(f"{token}@example.org")
        await self.add_member(user, "owner")
        await self.add_token(token, user_id=user)
        return token

    async def add_user(self, email: str, *, staff_role: str | None = None) -> UUID:
        """A user who is a member of nothing."""
        statement = "INSERT INTO user_account (organization_id, email, staff_role) VALUES ($1, $2, $3) RETURNING id"
        user: UUID = await self.db.fetchval(statement, self.organization, email, staff_role)
        return user

    async def add_member(self, user: UUID, role: str, *, project: UUID | None = None) -> UUID:
        """Make the user a member of the first organization, or of one project alone."""
        membership: UUID = await self.db.fetchval(
            "INSERT INTO membership (user_id, organization_id, project_id, roles) VALUES ($1, $2, $3, $4) RETURNING id",
            user,
            None if project else self.organization,
            project,
            [role],
        )
        return membership

    async def add_token(
        self, token: str, *, user_id: UUID | None = None, project_id: UUID | None = None, read_only: bool = False
    ) -> None:
        """Another token."""
        await self.db.execute(
            "INSERT INTO api_token (digest, user_id, project_id, read_only) VALUES ($1, $2, $3, $4)",
            token_digest(token),
            user_id,
            project_id,
            read_only,
        )

    async def add_machines(
        self, count: int, *, plan: str = "c1.small.x86", facility: str = "ewr1", state: str = "ready"
    ) -> list[UUID]:
        """Machines, as enrolment and preparation leave them."""
        leaf = f"leaf-{facility}"
        await self.db.execute(
            """INSERT INTO leaf (facility_id, name, host, username, secret, host_key)
               SELECT id, $2, '127.0.0.1', 'roundhouse', '', '' FROM facility WHERE code = $1
               ON CONFLICT (name) DO NOTHING""",
            facility,
            leaf,
        )
        first = await self.db.fetchval("SELECT count(*) FROM machine")
        ids = []
        for number in range(first, first + count):
            port = await self.db.fetchval(
                """INSERT INTO leaf_port (leaf_id, name, profile)
                   SELECT id, $2, 'provisioning' FROM leaf WHERE name = $1 RETURNING id""",
                leaf,
                f"xe-0/0/{number}",
            )
            ids.append(
                await self.db.fetchval(
                    """INSERT INTO machine (facility_id, plan_id, port_id, name, mac, bmc_url, bmc_username, bmc_secret,
                                            state)
                       SELECT f.id, p.id, $3, $4, $5::text::macaddr, '', '', '', $6
                       FROM facility AS f, plan AS p WHERE f.code = $1 AND p.slug = $2 RETURNING id""",
                    facility,
                    plan,
                    port,
                    f"m{number}",
                    f"02:00:00:00:{number // 256:02x}:{number % 256:02x}",
                    state,
                )
            )
        return ids

    async def add_prefixes(self, *facilities: str, public: str = "203.0.113.0/24") -> None:
        """Addresses to hand out."""
        async with self.db.acquire() as conn:
            vrf = await add_vrf(conn, "default")
            for number, facility in enumerate(facilities):
                mine = public if number == 0 else f"198.51.{100 + number}.0/24"
                await add_prefix(conn, vrf, mine, "public", block_length=31, facility=facility)
                await add_prefix(conn, vrf, f"10.{number}.0.0/16", "private", block_length=31, facility=facility)
                await add_prefix(conn, vrf, f"2001:db8:{number}::/48", "ipv6", block_length=64, facility=facility)


@asynccontextmanager
async def open_world(db: Pool, database_url: str, state_dir: Path, **settings: Any) -> AsyncIterator[World]:
    """The application on a socket, seeded, with addresses but without machines."""
    catalogue = load_catalogue()
    async with db.acquire() as conn:
        seeded = await seed(conn, token=TOKEN, operating_systems=[entry.slug for entry in catalogue])
    hub = Hub(database_url)
    listening = asyncio.create_task(hub.run())
    app = make_api(db, make_parts(Settings(state_dir=state_dir, **settings)), hub)
    faults: list[str] = []
    app.middlewares.insert(0, watching(faults))
    server = TestServer(app)
    await server.start_server()
    assert server.runner is not None
    try:
        async with ClientSession() as http:
            world = World(
                db=db,
                http=http,
                url=str(server.make_url("")).rstrip("/"),
                project=seeded.project_id,
                user=seeded.user_id,
                organization=seeded.organization_id,
                catalogue=catalogue,
                runner=server.runner,
                faults=faults,
            )
            await world.add_prefixes("ewr1", "sjc1")
            yield world
            assert not faults, faults
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await server.close()

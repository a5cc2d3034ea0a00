"""Two tenants for the matrices of roles and routes: everybody who may call, and one of each thing that a path names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID, uuid4

from service.api.call import Route
from service.api.links import bond0_of
from service.policy import CUSTOMER_ROLES, OF_STAFF, PROJECT_KEY, RIGHTS, STAFF_ROLES, Right, Role
from tests.service.api_world import World

READ_ONLY, PROJECT, NOBODY = "read_only", "project_key", "nobody"
CALLERS = (*CUSTOMER_ROLES, READ_ONLY, PROJECT, *STAFF_ROLES, NOBODY)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def rights_of(caller: str) -> frozenset[Right]:
    """What the policy says of a caller, within the first tenant."""
    if caller == NOBODY:
        return frozenset()
    if caller == PROJECT:
        return PROJECT_KEY
    return RIGHTS[Role.OWNER if caller == READ_ONLY else Role(caller)]


def expected(caller: str, route: Route) -> int | None:
    """What the policy refuses a caller with, by the route's right alone; None when it lets him in."""
    if caller == NOBODY:
        return 401
    if route.right is Right.SELF and "{" in route.pattern:
        return 403  # none of the samples is the caller's own
    if (caller == READ_ONLY and route.changes) or route.right not in rights_of(caller):
        # A token of one project sees nothing of the organization around it.
        hidden = caller == PROJECT and "{organization}" in route.pattern and route.right not in OF_STAFF
        return 404 if hidden else 403
    if caller == PROJECT and "{organization}" in route.pattern and route.right not in OF_STAFF | {Right.OPEN}:
        return 404
    return None


_DEVICE = """
    INSERT INTO device (id, project_id, facility_id, plan_id, operating_system, hostname, root_password, password_hash,
                        deadline, state)
    SELECT $1::uuid, $2::uuid, f.id, p.id, 'debian_12', 'sample', '', '', now(), 'failed' FROM facility AS f, plan AS p
    WHERE f.code = 'ewr1' AND p.slug = 'c1.small.x86'"""
_KEY = """
    INSERT INTO ssh_key (id, project_id, label, key, fingerprint)
    VALUES ($1::uuid, $2::uuid, 'sample', 'ssh-ed25519 AAAA', $1::uuid::text)"""
_MEMBERSHIP = """
    WITH somebody AS (
        INSERT INTO user_account (organization_id, email)
        SELECT organization_id, $1::uuid::text || '@example.net' FROM project WHERE id = $2::uuid RETURNING id
    )
    INSERT INTO membership (id, user_id, project_id, roles) SELECT $1::uuid, id, $2::uuid, '{viewer}' FROM somebody"""

# By placeholder: how a thing of the kind gets the id $1 in the project $2.
_SAMPLES = {
    "device": _DEVICE,
    "port": _DEVICE,
    "key": _KEY,
    "seen_key": _KEY,
    "membership": _MEMBERSHIP,
    "own_membership": _MEMBERSHIP,
    "session": f"""
        WITH one AS ({_DEVICE} RETURNING id)
        INSERT INTO bgp_session (id, device_id, address_family, default_route, created_at, set_by, during)
        SELECT id, id, 'ipv4', false, now(), 'a test', tstzrange(now(), NULL) FROM one""",
    "event": """
        INSERT INTO event (id, project_id, type, body) VALUES ($1::uuid, $2::uuid, 'a.test', 'a test')""",
    "token": """
        INSERT INTO api_token (id, project_id, digest) VALUES ($1::uuid, $2::uuid, sha256($1::uuid::text::bytea))""",
    "invitation": """
        INSERT INTO invitation (id, project_id, email, roles, created_at)
        VALUES ($1::uuid, $2::uuid, $1::uuid::text || '@example.net', '{viewer}', now())""",
    "batch": """
        INSERT INTO device_batch (id, request_id, place, project_id, wish, created_at, updated_at)
        VALUES ($1::uuid, $1::uuid, 0, $2::uuid, '{}', now(), now())""",
    "ip": """
        INSERT INTO tenure (id, vrf_id, prefix_id, prefix_cidr, block, owner, slot, project_id, opened_by, during)
        SELECT $1::uuid, p.vrf_id, p.id, p.cidr,
               set_masklen(p.cidr::inet + 2 * (SELECT count(*) FROM tenure)::int, 31)::cidr, $2::uuid,
               'elastic ' || $1::uuid::text, $2::uuid, 'a test', tstzrange(now(), NULL)
        FROM prefix AS p WHERE p.role = 'private' ORDER BY p.id LIMIT 1""",
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organization with a project, and tokens of its members."""

    world: World
    organization: UUID
    project: UUID
    owner: UUID

    async def token(self, caller: str) -> str | None:
        """A token of somebody who is this here."""
        if caller == NOBODY:
            return None
        token = f"{caller}-{uuid4()}"
        if caller == PROJECT:
            await self.world.add_token(token, project_id=self.project)
            return token
        staff = caller if caller in STAFF_ROLES else None
        user = await self.world.db.fetchval(
            "INSERT INTO user_account (organization_id, email, staff_role) VALUES ($1, $2, $3) RETURNING id",
            self.organization,
            f"{token}@example.org",
            staff,
        )
        if staff is None:
            role = Role.OWNER if caller == READ_ONLY else caller
            await self.world.db.execute(
                "INSERT INTO membership (user_id, organization_id, roles) VALUES ($1, $2, $3)",
                user,
                self.organization,
                [role],
            )
        await self.world.add_token(token, user_id=user, read_only=caller == READ_ONLY)
        return token

    async def sample(self, name: str) -> str:
        """The id of a new thing of the kind that the placeholder names, in the tenant's project; of a kind that no
        customer has, an id of nothing."""
        whole = {"project": self.project, "organization": self.organization, "user": self.owner}
        if name in whole:
            return str(whole[name])
        if name not in _SAMPLES:
            return UNKNOWN
        id_ = uuid4()
        await self.world.db.execute(_SAMPLES[name], id_, self.project)
        return str(bond0_of(id_) if name == "port" else id_)

    async def path(self, pattern: str) -> str:
        """The pattern with an id of this tenant's at each placeholder."""
        parts = []
        for part in pattern.split("/"):
            parts.append(await self.sample(part[1:-1]) if part.startswith("{") else part)
        return "/".join(parts)


async def state_of(world: World) -> dict[str, str]:
    """A digest of each table's rows, by which any change is seen."""
    found = {}
    for row in await world.db.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"):
        # Refused requests of staff are written down, and so is what runs by itself.
        if row["name"] in ("audit", "schema_migration") or row["name"].startswith("pgqueuer"):
            continue
        rows = await world.db.fetch(f'SELECT t::text AS text FROM "{row["name"]}" AS t ORDER BY 1')
        found[row["name"]] = hashlib.sha256("\n".join(one["text"] for one in rows).encode()).hexdigest()
    return found

"""What an empty installation begins with: one organization with a staff user, a project, and something on offer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from service.policy import Role
from service.store.accounts import token_digest
from service.store.rows import Connection
from sql.loader import Q

_LOCK = 0x73656564  # "seed": two processes that start at once seed one after the other

METROS = (("ny", "New York", "US"), ("sv", "Silicon Valley", "US"), ("am", "Amsterdam", "NL"))
FACILITIES = (
    ("ewr1", "Parsippany, NJ", "ny"),
    ("sjc1", "Sunnyvale, CA", "sv"),
    ("ams1", "Amsterdam, NL", "am"),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    slug: str
    alias: str | None
    description: str
    cpu: str
    sockets: int
    memory_gb: int
    drives: tuple[tuple[int, str, str], ...]  # how many, how large, of which kind
    nic: str
    price: str
    raid: bool = False
    arm: bool = False


_PLANS = (
    _Plan(
        "t1.small.x86",
        "baremetal_0",
        "Type 0",
        "Intel Atom C2550 @ 2.4GHz",
        1,
        8,
        ((1, "80GB", "SSD"),),
        "1Gbps",
        "0.07",
    ),
    _Plan(
        "c1.small.x86",
        "baremetal_1",
        "Type 1",
        "Intel E3-1240 v3 @ 3.4GHz",
        1,
        32,
        ((2, "120GB", "SSD"),),
        "1Gbps",
        "0.40",
        raid=True,
    ),
    _Plan(
        "m1.xlarge.x86",
        "baremetal_2",
        "Type 2",
        "Intel Xeon E5-2650 v4 @ 2.2GHz",
        2,
        256,
        ((6, "480GB", "SSD"),),
        "10Gbps",
        "1.70",
        raid=True,
    ),
    _Plan(
        "c1.xlarge.x86",
        "baremetal_3",
        "Type 3",
        "Intel E5-2640 v3 @ 2.6GHz",
        2,
        128,
        ((2, "120GB", "SSD"), (1, "1.6TB", "NVME")),
        "10Gbps",
        "1.75",
        raid=True,
    ),
    _Plan(
        "c1.large.arm",
        "baremetal_2a",
        "Type 2A",
        "Cavium ThunderX @ 2.0GHz",
        2,
        128,
        ((1, "340GB", "SSD"),),
        "10Gbps",
        "0.50",
        arm=True,
    ),
    _Plan(
        "s1.large.x86",
        "baremetal_s",
        "Type S",
        "Intel E5-2620 v4 @ 2.1GHz",
        2,
        128,
        ((2, "480GB", "SSD"), (12, "2TB", "HDD")),
        "10Gbps",
        "1.50",
        raid=True,
    ),
    _Plan(
        "c3.small.x86",
        None,
        "c3.small.x86",
        "Intel Xeon E-2278G @ 3.4GHz",
        1,
        32,
        ((2, "480GB", "SSD"),),
        "10Gbps",
        "0.50",
    ),
)


@dataclass(frozen=True, slots=True)
class Seeded:
    """Who can log in now, and where."""

    user_id: UUID
    project_id: UUID
    organization_id: UUID
    token: str


def _specs(plan: _Plan) -> dict[str, Any]:
    return {
        "cpus": [{"count": plan.sockets, "type": plan.cpu}],
        "memory": {"total": f"{plan.memory_gb}GB"},
        "drives": [
            {"count": count, "size": size, "type": kind, "category": "boot" if place == 0 else "storage"}
            for place, (count, size, kind) in enumerate(plan.drives)
        ],
        "nics": [{"count": 1, "type": plan.nic}],
        "features": {"raid": plan.raid, "txt": not plan.arm, "uefi": plan.arm},
        "arch": "arm64" if plan.arm else "amd64",
    }


async def seed(
    conn: Connection,
    *,
    token: str,
    operating_systems: Iterable[str],
    organization: str = "Roundhouse",
    project: str = "default",
    email: str = "staff@roundhouse.example",
) -> Seeded:
    """Put the first rows in; what is there stays as it is. `operating_systems` are the catalogue's slugs."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        organization_id = await conn.fetchval(Q["seed_organization"], organization)
        user_id = await conn.fetchval(Q["seed_user"], organization_id, email, "Round", "House", Role.OPERATOR)
        await conn.execute(Q["seed_owner"], user_id, organization_id)
        project_id = await conn.fetchval(Q["seed_project"], organization_id, project, user_id)
        await conn.execute(Q["seed_token"], token_digest(token), user_id, "first token")
        await conn.executemany(Q["seed_metro"], METROS)
        await conn.executemany(Q["seed_facility"], FACILITIES)
        await conn.executemany(
            Q["seed_plan"],
            [
                (plan.slug, [plan.alias] if plan.alias else [], plan.description, _specs(plan), Decimal(plan.price))
                for plan in _PLANS
            ],
        )
        await conn.execute(Q["seed_operating_systems"], list(operating_systems))
    return Seeded(user_id=user_id, project_id=project_id, organization_id=organization_id, token=token)

"""Rights on prefixes over the wire: who sees what of whom, who grants, and what is said why."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from ipam.prefixes import add_prefix, add_vrf
from tests.service.api_world import World

PREFIXES = "/ipam/v1/prefixes"


async def node(world: World, cidr: str, *, organization: UUID | None = None, project: UUID | None = None) -> int:
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "customers")
        added = await add_prefix(conn, vrf, cidr, "container", organization_id=organization, project_id=project)
        return added.id


async def give(world: World, prefix: int, right: str, token: str | None = None, **grantee: object) -> tuple[int, str]:
    body = {"right": right, **{kind: str(id_) for kind, id_ in grantee.items()}}
    given = {} if token is None else {"token": token}
    answer = await world.call("POST", f"{PREFIXES}/{prefix}/grants", body, **given)  # type: ignore[arg-type]
    return answer.status, answer.body.get("id") or answer.body["errors"][0]


async def test_a_grant_is_given_seen_explained_and_revoked(world: World) -> None:
    root, below = await node(world, "10.32.0.0/11"), await node(world, "10.33.0.0/16")
    tenant = await world.tenant_token()
    user = await world.db.fetchval("SELECT id FROM user_account WHERE email = 'tenant-token@example.org'")
    mine = f"{PREFIXES}/{below}/permissions"
    assert (await world.call("GET", mine, token=tenant)).status == 404
    assert (await world.call("GET", f"{mine}?user={user}")).body["reasons"] == [
        "nothing: no grant on 10.33.0.0/16 or above"
    ]
    status, grant = await give(world, root, "assign", user=user)
    assert status == 201 and await give(world, root, "assign", user=user) == (201, grant)
    explained = (await world.call("GET", mine, token=tenant)).body
    assert explained["right"] == "assign" and explained["subject"]["user"] == str(user)
    (reason,) = explained["reasons"]
    assert reason.startswith("assign: allowed by a grant to user tenant-token@example.org on 10.32.0.0/11 (granted by")
    assert f"user {world.user} at " in reason
    (listed,) = (await world.call("GET", f"{PREFIXES}/{root}/grants")).body["grants"]
    assert listed["grantee"] == {"kind": "user", "id": str(user), "name": "tenant-token@example.org"}
    refused = await world.call("GET", f"{PREFIXES}/{root}/grants", token=tenant)
    assert (refused.status, refused.body["errors"]) == (
        403,
        ["You are not authorized: manage is needed on 10.32.0.0/11, and you may only assign"],
    )
    for _ in range(2):
        assert (await world.call("DELETE", f"{PREFIXES}/{root}/grants/{grant}")).status == 204
    assert (await world.call("GET", mine, token=tenant)).status == 404
    assert (await world.call("GET", f"{PREFIXES}/{root}/grants")).body["grants"] == []
    (past,) = (await world.call("GET", f"{PREFIXES}/{root}/grants?history=true")).body["grants"]
    assert past["revoked_by"] == f"user:{world.user}" and past["revoked_at"] >= past["granted_at"]


async def test_tenants_learn_nothing_of_one_another(world: World) -> None:
    theirs = await world.other_tenant()
    their_organization = await world.db.fetchval("SELECT organization_id FROM project WHERE id = $1", theirs)
    root = await node(world, "10.32.0.0/11")
    foreign = await node(world, "10.33.0.0/16", organization=their_organization)
    own = await node(world, "10.34.0.0/16", organization=world.organization)
    tenant = await world.tenant_token()
    _, foreign_grant = await give(world, foreign, "view", project=theirs)
    _, guest = await give(world, own, "view", organization=their_organization)
    absent = 10**15
    for prefix in (root, foreign, absent, "x", 2**70):
        for method, path, body in (
            ("GET", f"{PREFIXES}/{prefix}/grants", None),
            ("GET", f"{PREFIXES}/{prefix}/permissions", None),
            ("POST", f"{PREFIXES}/{prefix}/grants", {"right": "view", "organization": str(world.organization)}),
            ("DELETE", f"{PREFIXES}/{prefix}/grants/{foreign_grant}", None),
        ):
            answer = await world.call(method, path, body, token=tenant)
            assert (answer.status, answer.body) == (404, {"errors": ["Not found"]})
    explained = (await world.call("GET", f"{PREFIXES}/{own}/permissions", token=tenant)).body
    assert explained["reasons"] == ["manage: organization Roundhouse is the owner of 10.34.0.0/16"]
    # What leads out of the organization is the provider's business: not seen, not given, not revoked.
    assert (await world.call("GET", f"{PREFIXES}/{own}/grants", token=tenant)).body["grants"] == []
    assert (await world.call("DELETE", f"{PREFIXES}/{own}/grants/{guest}", token=tenant)).status == 404
    for kind, id_ in (("organization", their_organization), ("project", theirs), ("project", uuid4())):
        assert await give(world, own, "view", tenant, **{kind: id_}) == (422, f"{kind} {id_} is none of yours")
        answer = await world.call("GET", f"{PREFIXES}/{own}/permissions?{kind}={id_}", token=tenant)
        assert (answer.status, answer.body["errors"]) == (
            403,
            [f"You are not authorized: you may ask about yourself only, and not about {kind} {id_}"],
        )
    assert (await give(world, own, "assign", tenant, project=world.project))[0] == 201
    assert (await world.call("GET", f"{PREFIXES}/{own}/permissions", token="other-token")).body["right"] == "view"
    assert (await world.call("GET", f"{PREFIXES}/{own}/grants", token="other-token")).status == 403


async def test_a_token_that_only_reads_grants_nothing(world: World) -> None:
    own = await node(world, "10.34.0.0/16", organization=world.organization)
    _, grant = await give(world, own, "view", project=world.project)
    await world.add_token("reader", user_id=world.user, read_only=True)
    assert (await give(world, own, "view", "reader", user=world.user))[0] == 403
    assert (await world.call("DELETE", f"{PREFIXES}/{own}/grants/{grant}", token="reader")).status == 403
    assert (await world.call("GET", f"{PREFIXES}/{own}/grants", token="reader")).status == 200


async def test_a_projects_token_has_its_projects_rights_alone(world: World) -> None:
    shared = await node(world, "10.34.0.0/16", organization=world.organization)
    own = await node(world, "10.35.0.0/16", project=world.project)
    await world.add_token("project-token", project_id=world.project)
    assert (await world.call("GET", f"{PREFIXES}/{shared}/permissions", token="project-token")).status == 404
    assert (await world.call("GET", f"{PREFIXES}/{own}/permissions", token="project-token")).body["right"] == "manage"
    assert (await give(world, own, "view", "project-token", organization=world.organization))[0] == 422
    status, grant = await give(world, own, "view", "project-token", project=world.project)
    assert status == 201
    (listed,) = (await world.call("GET", f"{PREFIXES}/{own}/grants")).body["grants"]
    assert (listed["id"], listed["granted_by"]) == (grant, f"project:{world.project}")
    # The organization's users manage what belongs to its projects.
    tenant = await world.tenant_token()
    assert (await world.call("GET", f"{PREFIXES}/{own}/permissions", token=tenant)).body["right"] == "manage"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"right": "own", "user": str(UUID(int=1))}, "Right is not valid: 'own'"),
        ({"right": "view"}, "name exactly one of organization, project, user; 0 are named"),
        ({"right": "view", "user": str(UUID(int=1)), "project": str(UUID(int=1))}, "2 are named"),
        ({"right": "view", "user": "me"}, "User is not valid: 'me'"),
        ({"right": "view", "user": str(UUID(int=1))}, f"user {UUID(int=1)} is not there"),
    ],
)
async def test_a_wrong_grant_is_named(world: World, body: dict[str, str], said: str) -> None:
    prefix = await node(world, "10.34.0.0/16")
    answer = await world.call("POST", f"{PREFIXES}/{prefix}/grants", body)
    assert answer.status == 422 and said in answer.body["errors"][0]


async def test_a_wrong_question_is_named(world: World) -> None:
    prefix = await node(world, "10.34.0.0/16")
    path = f"{PREFIXES}/{prefix}/permissions"
    assert (await world.call("GET", f"{path}?user=me")).body["errors"] == ["User is not valid: 'me' is no id"]
    both = await world.call("GET", f"{path}?user={uuid4()}&project={uuid4()}")
    assert both.status == 422 and "2 are named" in both.body["errors"][0]
    assert (await world.call("GET", f"{path}?user={uuid4()}")).status == 422

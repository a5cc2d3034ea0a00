"""Members, invitations, tokens, organizations and quotas, over HTTP."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from service.policy import Role
from tests.service.api_world import World


async def a_user(world: World, name: str, role: str | None = None, *, project: UUID | None = None) -> UUID:
    """A user whose token is his name; a member of the first organization or of a project, if he is to be one."""
    user = await world.add_user(f"{name}@example.org")
    if role is not None:
        await world.add_member(user, role, project=project)
    await world.add_token(name, user_id=user)
    return user


async def test_a_member_of_one_project_sees_that_project_alone(world: World) -> None:
    other = (await world.call("POST", "/projects", {"name": "other"})).body["id"]
    await a_user(world, "guest", "collaborator", project=world.project)
    listed = (await world.call("GET", "/projects", token="guest")).body["projects"]
    assert [one["id"] for one in listed] == [str(world.project)]
    assert (await world.call("GET", f"/projects/{other}", token="guest")).status == 404
    assert (await world.call("GET", f"/organizations/{world.organization}", token="guest")).status == 404
    assert (await world.call("POST", "/projects", {"name": "x"}, token="guest")).status == 403


async def test_an_invitation_is_seen_by_its_address_and_makes_a_member(world: World) -> None:
    await a_user(world, "owner", "owner")
    await world.other_tenant("guest")
    path = f"/projects/{world.project}/invitations"
    wish = {"invitee": "GUEST@example.org", "roles": ["viewer"], "message": "come"}
    made = await world.call("POST", path, wish, token="owner")
    assert made.status == 201 and made.body["roles"] == ["viewer"]
    again = await world.call("POST", path, wish, token="owner")
    assert (again.status, again.body["errors"]) == (
        422,
        ["Invitee is not valid: 'GUEST@example.org' is invited already"],
    )
    mine = (await world.call("GET", "/invitations", token="guest")).body["invitations"]
    assert [one["id"] for one in mine] == [made.body["id"]]
    assert (await world.call("PUT", f"/invitations/{made.body['id']}", token="owner")).status == 403
    accepted = await world.call("PUT", f"/invitations/{made.body['id']}", token="guest")
    assert accepted.status == 200 and accepted.body["project"] == {"href": f"/projects/{world.project}"}
    assert (await world.call("GET", f"/projects/{world.project}", token="guest")).status == 200
    assert (await world.call("GET", f"/invitations/{made.body['id']}", token="guest")).status == 404
    project = (await world.call("GET", f"/projects/{world.project}?include=members", token="owner")).body
    assert "guest@example.org" in [one["email"] for one in project["members"]]
    left = await world.call("DELETE", accepted.body["href"], token="guest")
    assert left.status == 204
    assert (await world.call("GET", f"/projects/{world.project}", token="guest")).status == 404


async def test_an_invitation_may_be_declined_and_taken_back(world: World) -> None:
    await a_user(world, "guest")
    path = f"/organizations/{world.organization}/invitations"
    for token in ("guest", "staff-token"):
        made = (await world.call("POST", path, {"invitee": "guest@example.org"})).body
        assert (await world.call("DELETE", made["href"], token=token)).status == 204
        assert (await world.call("GET", path)).body["invitations"] == []


async def test_a_role_takes_effect_at_once(world: World) -> None:
    user = await a_user(world, "member")
    id_ = await world.add_member(user, "viewer")
    await a_user(world, "admin", "admin")
    rename = ("PATCH", f"/projects/{world.project}", {"name": "renamed"})
    assert (await world.call(*rename, token="member")).status == 403
    changed = await world.call("PUT", f"/memberships/{id_}", {"roles": ["admin"]}, token="admin")
    assert changed.status == 200
    assert (await world.call(*rename, token="member")).status == 200
    assert (await world.call("DELETE", f"/memberships/{id_}", token="admin")).status == 204
    assert (await world.call(*rename, token="member")).status == 404


async def test_owners_are_made_and_sent_away_by_owners(world: World) -> None:
    user = await a_user(world, "admin")
    mine = await world.add_member(user, "admin")
    theirs = await world.db.fetchval("SELECT id FROM membership WHERE user_id = $1", world.user)
    tried = (
        ("PUT", f"/memberships/{mine}", {"roles": ["owner"]}),
        ("PUT", f"/memberships/{theirs}", {"roles": ["viewer"]}),
        ("DELETE", f"/memberships/{theirs}", None),
        ("POST", f"/organizations/{world.organization}/invitations", {"invitee": "a@b.example", "roles": ["owner"]}),
    )
    for method, path, body in tried:
        assert (await world.call(method, path, body, token="admin")).status == 403


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PUT", {"roles": ["viewer"]})])
async def test_the_last_owner_stays(world: World, method: str, body: object) -> None:
    (id_,) = [row["id"] for row in await world.db.fetch("SELECT id FROM membership")]
    answer = await world.call(method, f"/memberships/{id_}", body)
    assert answer.status == 422 and "without an owner" in answer.body["errors"][0]


async def test_two_owners_who_leave_at_once_leave_one(world: World) -> None:
    user = await a_user(world, "second")
    ids = [await world.add_member(user, "owner")]
    ids.append(await world.db.fetchval("SELECT id FROM membership WHERE user_id = $1", world.user))
    answers = await asyncio.gather(*(world.call("DELETE", f"/memberships/{id_}") for id_ in ids))
    assert sorted(one.status for one in answers) == [204, 422]


async def test_a_token_is_told_once_and_ends_at_once(world: World) -> None:
    made = await world.call("POST", f"/projects/{world.project}/api-keys", {"description": "ci", "read_only": True})
    secret = made.body["token"]
    assert made.status == 201 and made.body["read_only"] and made.body["user"] is None
    listed = (await world.call("GET", f"/projects/{world.project}/api-keys")).body["api_keys"]
    assert [(one["id"], one["token"]) for one in listed] == [(made.body["id"], None)]
    assert (await world.call("GET", f"/projects/{world.project}", token=secret)).status == 200
    assert (await world.call("PATCH", f"/projects/{world.project}", {"name": "x"}, token=secret)).status == 403
    assert (await world.call("GET", "/user", token=secret)).status == 403
    assert (await world.call("DELETE", made.body["href"])).status == 204
    assert (await world.call("GET", f"/projects/{world.project}", token=secret)).status == 401
    mine = await world.call("POST", "/user/api-keys", {"description": "laptop"})
    assert (await world.call("GET", "/user", token=mine.body["token"])).body["id"] == str(world.user)


async def test_a_disabled_users_tokens_stop_at_once(world: World) -> None:
    user = await a_user(world, "member", "viewer")
    assert (await world.call("GET", "/user", token="member")).status == 200
    for disabled, status in ((True, 401), (False, 200)):
        changed = await world.call("PATCH", f"/admin/v1/users/{user}", {"disabled": disabled})
        assert changed.status == 200 and (changed.body["disabled_at"] is not None) is disabled
        assert (await world.call("GET", "/user", token="member")).status == status


async def test_support_does_not_touch_the_staff(world: World) -> None:
    support = await world.add_user("support@example.org", staff_role=Role.SUPPORT)
    await world.add_token("support", user_id=support)
    wish = {"email": "new@example.org", "organization_name": "New"}
    refused = await world.call("POST", "/admin/v1/users", wish | {"staff_role": "operator"}, token="support")
    assert refused.status == 403
    made = await world.call("POST", "/admin/v1/users", wish, token="support")
    assert made.status == 201 and made.body["staff_role"] is None
    for path in (f"/admin/v1/users/{world.user}", "/admin/v1/users/staff@roundhouse.example"):
        assert (await world.call("POST", f"{path}/api-keys", {}, token="support")).status == 403
        assert (await world.call("PATCH", path, {"disabled": True}, token="support")).status == 403
    token = (await world.call("POST", f"/admin/v1/users/{made.body['id']}/api-keys", {}, token="support")).body["token"]
    owned = (await world.call("GET", "/organizations", token=token)).body["organizations"]
    assert [one["name"] for one in owned] == ["New"]


async def test_an_organization_begins_changes_and_ends(world: World) -> None:
    await a_user(world, "somebody")
    made = await world.call("POST", "/organizations", {"name": "Mine"}, token="somebody")
    assert made.status == 201 and len(made.body["memberships"]) == 1
    path = made.body["href"]
    project = await world.call("POST", f"{path}/projects", {"name": "first"}, token="somebody")
    assert project.status == 201
    changed = await world.call("PATCH", path, {"description": "for tests"}, token="somebody")
    assert (changed.body["name"], changed.body["description"]) == ("Mine", "for tests")
    assert (await world.call("DELETE", path, token="somebody")).status == 422
    assert (await world.call("DELETE", project.body["href"], token="somebody")).status == 204
    assert (await world.call("DELETE", path, token="somebody")).status == 204
    assert (await world.call("GET", path, token="somebody")).status == 404
    assert (await world.call("GET", path)).status == 404


@pytest.mark.parametrize("of", ["project", "organization"])
async def test_of_two_orders_at_the_quota_one_is_taken(world: World, of: str) -> None:
    await world.add_machines(4)
    path = f"/admin/v1/{of}s/{getattr(world, of)}/quota"
    assert (await world.call("PUT", path, {"devices": 2})).status == 200
    assert (await world.order()).status == 201
    answers = await asyncio.gather(*(world.order() for _ in range(3)))
    assert sorted(one.status for one in answers) == [201, 422, 422]
    (said,) = {one.body["errors"][0] for one in answers if one.status == 422}
    assert said == f"Device is not valid: the {of}'s quota is 2 devices; 2 are in use, 1 more asked"
    shown = (await world.call("GET", path)).body
    assert (shown["quota"]["devices"], shown["use"]["devices"]) == (2, 2)


@pytest.mark.parametrize("limit", [False, -1, 1.5, "2", {}])
async def test_a_quota_is_a_number_and_nothing_else(world: World, limit: object) -> None:
    path = f"/admin/v1/organizations/{world.organization}/quota"
    answer = await world.call("PUT", path, {"members": limit})
    assert answer.status == 422 and answer.body["errors"][0].startswith("Members ")
    assert (await world.call("GET", path)).body["quota"]["members"] is None


async def test_a_staff_role_is_a_name_or_nothing(world: World) -> None:
    user = await world.db.fetchval("SELECT user_id FROM api_token WHERE user_id <> $1 LIMIT 1", world.user)
    user = user or (await world.call("POST", "/admin/v1/users", {"email": "new@example.net"})).body["id"]
    wrong: list[object] = [{}, False, [], "king"]
    for role in wrong:
        answer = await world.call("PATCH", f"/admin/v1/users/{user}", {"staff_role": role})
        assert answer.status == 422 and answer.body["errors"][0].startswith("Staff role is not valid")
    assert (await world.call("PATCH", f"/admin/v1/users/{user}", {"staff_role": ""})).body["staff_role"] is None


async def test_elastic_addresses_are_within_the_quota(world: World) -> None:
    await world.call("POST", "/ipam/v1/prefixes", {"prefix": "198.18.0.0/24", "role": "elastic", "block_length": 32})
    path = f"/admin/v1/projects/{world.project}/quota"
    assert (await world.call("PUT", path, {"elastic_ipv4": 8})).status == 200
    wish = {"type": "public_ipv4", "quantity": 4, "facility": "ewr1"}
    answers = await asyncio.gather(*(world.call("POST", f"/projects/{world.project}/ips", wish) for _ in range(4)))
    assert sorted(one.status for one in answers) == [201, 201, 422, 422]
    assert (await world.call("GET", path)).body["use"]["elastic_ipv4"] == 8


async def test_projects_and_members_are_within_the_quota(world: World) -> None:
    path = f"/admin/v1/organizations/{world.organization}/quota"
    await world.call("PUT", path, {"projects": 1, "members": 1})
    refused = await world.call("POST", "/projects", {"name": "another"})
    assert refused.body == {
        "errors": ["Projects are not valid: the organization's quota is 1 projects; 1 are in use, 1 more asked"]
    }
    invited = await world.call("POST", f"/projects/{world.project}/invitations", {"invitee": "a@example.org"})
    assert invited.status == 422
    elsewhere = await world.call("POST", "/organizations", {"name": "a way around"})
    assert elsewhere.status == 422


async def test_a_viewers_key_opens_no_device(world: World) -> None:
    await world.add_machines(1)
    await a_user(world, "viewer", "viewer")
    await a_user(world, "worker", "collaborator")
    for name in ("viewer", "worker"):
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMb0z9rBu3MbUrOJ1nZbYo4lWcBqbdfrcuX1qZ6wSd2Q"
        assert (await world.call("POST", "/ssh-keys", {"label": name, "key": key}, token=name)).status == 201
    device = (
        await world.call(
            "POST",
            f"/projects/{world.project}/devices",
            {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"},
        )
    ).body
    keys = [(await world.call("GET", one["href"])).body["label"] for one in device["ssh_keys"]]
    assert keys == ["worker"]

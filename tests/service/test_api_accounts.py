"""Users, tenants, tokens, projects and SSH keys over the wire."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.service.api_world import ED25519, World


def fresh_key() -> str:
    """Another public key each time."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize("token", [None, "", "wrong", "x" * 5000])
async def test_without_a_known_token_nothing_is_said(world: World, token: str | None) -> None:
    for path in ("/user", "/projects", "/nowhere", "/admin/v1/machines"):
        answer = await world.call("GET", path, token=token)
        assert (answer.status, answer.body) == (401, {"error": "Invalid authentication token"})


async def test_the_user_has_his_defaults(world: World) -> None:
    user = (await world.call("GET", "/user")).body
    assert user["default_organization_id"] == str(world.organization)
    assert user["default_project_id"] == str(world.project)
    assert UUID(user["id"]).version == 4 and user["href"] == f"/users/{user['id']}"


async def test_a_projects_token_sees_its_project_alone(world: World) -> None:
    await world.call("POST", "/projects", {"name": "second"})
    await world.add_token("project-token", project_id=world.project)
    listed = await world.call("GET", "/projects", token="project-token")
    assert [project["id"] for project in listed.body["projects"]] == [str(world.project)]
    assert (await world.call("GET", "/user", token="project-token")).status == 403
    assert (await world.call("POST", "/projects", {"name": "x"}, token="project-token")).status == 403
    made = await world.call(
        "POST", f"/projects/{world.project}/ssh-keys", {"label": "k", "key": ED25519}, token="project-token"
    )
    assert made.status == 201
    await world.db.execute("UPDATE project SET deleted_at = now() WHERE id = $1", world.project)
    assert (await world.call("GET", "/projects", token="project-token")).status == 401


async def test_a_token_that_only_reads_changes_nothing(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    await world.add_token("reader", user_id=world.user, read_only=True)
    for method, path, body in (
        ("POST", "/projects", {"name": "x"}),
        ("POST", "/ssh-keys", {"label": "x", "key": ED25519}),
        ("PUT", f"/devices/{device}", {"hostname": "x"}),
        ("POST", f"/devices/{device}/actions", {"type": "reboot"}),
        ("DELETE", f"/devices/{device}", None),
    ):
        assert (await world.call(method, path, body, token="reader")).status == 403
    assert (await world.call("GET", f"/devices/{device}", token="reader")).body["hostname"] == "web1"
    question = {"servers": [{"facility": "ewr1", "plan": "c1.small.x86", "quantity": 1}]}
    assert (await world.call("POST", "/capacity", question, token="reader")).status == 200


async def test_tenants_do_not_see_one_another(world: World) -> None:
    await world.add_machines(1)
    theirs = await world.other_tenant()
    tenant = await world.tenant_token()
    device = (await world.order()).body["id"]
    key = (await world.call("POST", "/ssh-keys", {"label": "k", "key": ED25519})).body["id"]
    event = (await world.call("GET", "/events")).body["events"]
    for path in (
        f"/devices/{device}",
        f"/devices/{device}/events",
        f"/devices/{device}/ips",
        f"/devices/{device}/waterfall",
        f"/devices/{device}/wait?timeout=0",
        f"/projects/{world.project}",
        f"/projects/{world.project}/devices",
        f"/projects/{world.project}/events",
        f"/projects/{world.project}/ips",
        f"/projects/{world.project}/ssh-keys",
        f"/organizations/{world.organization}",
        f"/organizations/{world.organization}/devices",
        f"/organizations/{world.organization}/events",
        f"/organizations/{world.organization}/projects",
        f"/ssh-keys/{key}",
        *(f"/events/{one['id']}" for one in event),
    ):
        assert (await world.call("GET", path, token="other-token")).status == 404, path
    for method, path in (
        ("PATCH", f"/devices/{device}"),
        ("DELETE", f"/devices/{device}"),
        ("POST", f"/devices/{device}/actions?type=reboot"),
        ("PUT", f"/projects/{world.project}"),
        ("DELETE", f"/projects/{world.project}"),
        ("POST", f"/projects/{world.project}/ssh-keys?label=a&key={ED25519.replace('+', '%2B')}"),
        ("DELETE", f"/ssh-keys/{key}"),
        ("POST", f"/organizations/{world.organization}/projects?name=x"),
    ):
        assert (await world.call(method, path, content=b"", token="other-token")).status == 404, path
    mine = (await world.call("GET", "/projects?include=devices,members,organization", token=tenant)).body
    assert [project["id"] for project in mine["projects"]] == [str(world.project)]
    assert (await world.call("GET", f"/devices/{device}", token=tenant)).status == 200
    assert (await world.call("GET", "/events", token="other-token")).body["events"] == []
    assert (await world.call("GET", "/admin/v1/machines", token=tenant)).status == 403
    every = (await world.call("GET", "/projects")).body["projects"]
    assert {project["id"] for project in every} == {str(world.project), str(theirs)}


async def test_another_users_key_is_not_changed(world: World) -> None:
    tenant = await world.tenant_token()
    key = (await world.call("POST", "/ssh-keys", {"label": "k", "key": ED25519})).body["id"]
    assert (await world.call("DELETE", f"/ssh-keys/{key}", token=tenant)).status == 404
    assert (await world.call("PATCH", f"/ssh-keys/{key}", {"label": "x"}, token=tenant)).status == 404
    assert (await world.call("GET", f"/ssh-keys/{key}", token=tenant)).body["label"] == "k"


async def test_private_events_are_for_staff(world: World) -> None:
    await world.add_machines(1)
    tenant = await world.tenant_token()
    device = (await world.order()).body["id"]
    await world.db.executemany(
        "INSERT INTO event (project_id, device_id, type, body, private) VALUES ($1, $2, $3, $4, $5)",
        [
            (world.project, UUID(device), "provisioning.101", "Provisioning started", False),
            (world.project, UUID(device), "failure", "the disk is gone", True),
        ],
    )
    seen = (await world.call("GET", f"/devices/{device}/events", token=tenant)).body
    assert [event["type"] for event in seen["events"]] == ["provisioning.101"] and seen["meta"]["total"] == 1
    assert seen["events"][0]["interpolated"] == "Provisioning started"
    staff = (await world.call("GET", f"/devices/{device}/events")).body["events"]
    assert [event["type"] for event in staff] == ["failure", "provisioning.101"]
    assert (await world.call("GET", f"/events/{staff[0]['id']}", token=tenant)).status == 404
    shown = (await world.call("GET", f"/devices/{device}")).body
    assert shown["provisioning_events"][0]["id"] == seen["events"][0]["id"]
    assert shown["provisioning_percentage"] == 10.0
    for path in ("/events", f"/projects/{world.project}/events", f"/organizations/{world.organization}/events"):
        assert (await world.call("GET", path, token=tenant)).body["meta"]["total"] == 1


async def test_projects_live_and_die(world: World) -> None:
    made = await world.call("POST", "/projects", {"name": "p", "customdata": {"a": 1}, "tags": ["t"]})
    assert made.status == 201
    project = made.body
    assert project["organization"] == {"href": f"/organizations/{world.organization}"}
    assert project["payment_method"]["href"] and project["members"] == [{"href": f"/users/{world.user}"}]
    assert (await world.call("GET", f"/projects/{project['id']}/ips")).body["ip_addresses"] == []
    path = f"/projects/{project['id']}"
    changed = (await world.call("PATCH", path, {"name": "q"})).body
    assert (changed["name"], changed["customdata"], changed["tags"]) == ("q", {"a": 1}, ["t"])
    assert (await world.call("POST", "/projects", {"name": ""})).body == {"errors": ["Name can't be blank"]}
    assert (await world.call("POST", "/projects", {})).body == {"errors": ["Name can't be blank"]}
    refused = await world.call("POST", "/projects", {"name": "x", "organization_id": str(uuid4())})
    assert refused.status == 422 and refused.body["errors"][0].startswith("Organization is not valid")
    listed = (await world.call("GET", "/projects?name=q")).body
    assert [one["id"] for one in listed["projects"]] == [project["id"]] and listed["meta"]["total"] == 1
    assert (await world.call("DELETE", path)).status == 204
    assert (await world.call("GET", "/projects?name=q")).body["meta"]["total"] == 0


async def test_a_projects_key_makes_one_project(world: World) -> None:
    answers = await asyncio.gather(*(world.call("POST", "/projects", {"name": "once"}, key="p1") for _ in range(4)))
    assert len({answer.body["id"] for answer in answers}) == 1
    assert (await world.call("GET", "/projects?name=once")).body["meta"]["total"] == 1


def _others() -> list[str]:
    public = (
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
    )
    return [key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " a comment" for key in public]


async def test_keys_of_every_kind_are_taken_once(world: World) -> None:
    for number, key in enumerate([fresh_key(), *_others()]):
        made = await world.call("POST", "/ssh-keys", {"label": f"key no. {number}", "key": key + "\n"})
        assert made.status == 201, made.body
        assert made.body["key"] == key + "\n", "as it was given: some clients compare"
        assert made.body["owner"] == {"href": f"/users/{world.user}"}
        again = await world.call("POST", "/ssh-keys", {"label": "again", "key": key.split(" a ")[0]})
        assert again.status == 422 and "already" in again.body["errors"][0]
        elsewhere = await world.call("POST", f"/projects/{world.project}/ssh-keys", {"label": "p", "key": key})
        assert elsewhere.status == 201, "another owner may have the same key"
    listed = (await world.call("GET", "/ssh-keys")).body["ssh_keys"]
    assert [key["label"] for key in listed] == [f"key no. {number}" for number in range(4)]
    assert len((await world.call("GET", "/ssh-keys?search=KEY%20NO.%202")).body["ssh_keys"]) == 1
    path = f"/ssh-keys/{listed[0]['id']}"
    assert (await world.call("PATCH", path, {"label": "new"})).body["label"] == "new"
    assert (await world.call("PUT", path, {"key": listed[1]["key"]})).status == 422
    replaced = (await world.call("PUT", path, {"key": fresh_key()})).body
    assert replaced["fingerprint"] != listed[0]["fingerprint"]
    assert (await world.call("DELETE", path)).status == 204
    assert (await world.call("DELETE", path)).status == 404


@pytest.mark.parametrize(
    "key",
    [
        "",
        "hello",
        "ssh-rsa",
        "ssh-rsa AAAA",
        "ssh-rsa !!!!",
        "ssh-dss AAAAB3NzaC1kc3M=",
        ED25519[:-8],
        ED25519.replace("ssh-ed25519", "ssh-rsa", 1),
        'command="reboot" ' + ED25519,
        ED25519 + "\n" + ED25519,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        ED25519 + " \u0007",
    ],
)
async def test_what_is_no_key_is_refused(world: World, key: str) -> None:
    answer = await world.call("POST", "/ssh-keys", {"label": "k", "key": key})
    assert answer.status == 422 and answer.body["errors"][0].startswith("Key ")
    assert (await world.call("GET", "/ssh-keys")).body["ssh_keys"] == []

"""Ports, keys, user data and custom data alone; what is not built is said, in the dialect's form."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.userdata import faults_in
from tests.service.api_world import ED25519, World


async def test_a_devices_parts_alone(world: World) -> None:
    await world.add_machines(1)
    await world.call("POST", "/ssh-keys", {"label": "me", "key": ED25519})
    device = (await world.order(customdata={"a": [1]}, userdata="#!/bin/sh\ntrue\n")).body
    path = f"/devices/{device['id']}"
    assert (await world.call("GET", f"{path}/customdata?")).body == {"a": [1]}
    assert (await world.call("GET", f"{path}/userdata")).body == {"userdata": "#!/bin/sh\ntrue\n"}
    (key,) = (await world.call("GET", f"{path}/ssh-keys")).body["ssh_keys"]
    assert key["label"] == "me" and key["key"] == ED25519
    project = f"/projects/{world.project}"
    assert (await world.call("GET", f"{project}/customdata")).body == {}
    await world.call("PUT", project, {"customdata": '{"team": "web"}'})
    assert (await world.call("GET", f"{project}/customdata")).body == {"team": "web"}
    assert (await world.call("GET", f"{path}/metadata")).status == 404, "it has no machine yet"
    await world.db.execute("UPDATE machine SET device_id = $1", UUID(device["id"]))
    told = (await world.call("GET", f"{path}/metadata")).body
    assert (told["id"], told["hostname"], told["customdata"]) == (device["id"], "web1", {"a": [1]})
    assert told["reserved"] is False and told["spot"] == {} and "password_hash" not in told
    await world.other_tenant()
    for part in ("customdata", "userdata", "ssh-keys", "metadata"):
        assert (await world.call("GET", f"{path}/{part}", token="other-token")).status == 404
    assert (await world.call("GET", f"{project}/customdata", token="other-token")).status == 404


async def test_ports_are_found_and_stay_layer_3(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body
    bond, port = device["network_ports"]
    for one in (bond, port):
        for prefix in ("", "/metal/v1"):
            found = await world.call("GET", f"{prefix}/ports/{one['id']}")
            assert found.status == 200
            assert {**found.body, "href": one["href"]} == {**one, "disbond_operation_supported": False}
    assert (await world.call("GET", f"/ports/{uuid4()}")).status == 404
    await world.other_tenant()
    assert (await world.call("GET", f"/ports/{bond['id']}", token="other-token")).status == 404
    for change in ("bond", "convert/layer-3"):
        kept = await world.call("POST", f"/ports/{bond['id']}/{change}", {"bulk_enable": True, "request_ips": []})
        assert kept.status == 200 and kept.body["network_type"] == "layer3"
    for method, change in (
        ("POST", "disbond"),
        ("POST", "assign"),
        ("POST", "unassign"),
        ("POST", "convert/layer-2"),
        ("POST", "native-vlan"),
        ("DELETE", "native-vlan"),
    ):
        refused = await world.call(method, f"/ports/{bond['id']}/{change}", {"vnid": "1000"})
        assert refused.status == 422 and "Layer 3" in refused.body["errors"][0]
        assert refused.body["errors"][0].startswith(f"{change} is not valid")
        unseen = await world.call(method, f"/ports/{bond['id']}/{change}", {}, token="other-token")
        assert unseen.status == 404


async def test_what_is_not_built_is_said(world: World) -> None:
    networks = f"/projects/{world.project}/virtual-networks"
    assert (await world.call("GET", networks)).body["virtual_networks"] == []
    assert (await world.call("POST", networks, {"vxlan": 1000})).status == 422
    assert (await world.call("GET", "/incidents")).body == {"incidents": []}
    methods = await world.call("GET", f"/organizations/{world.organization}/payment-methods")
    assert methods.body["payment_methods"] == [] and methods.body["meta"]["total"] == 0
    assert (await world.call("GET", f"/organizations/{uuid4()}/payment-methods")).status == 404
    for method, path in (
        ("GET", f"/projects/{world.project}/storage"),
        ("GET", "/connections"),
        ("GET", f"/projects/{world.project}/licenses"),
        ("POST", "/user/otp/sms"),
        ("GET", f"/virtual-networks/{uuid4()}"),
    ):
        answer = await world.call(method, path)
        assert (answer.status, answer.body) == (404, {"errors": ["Not found"]})


async def test_offers_are_filtered(world: World) -> None:
    versions = (await world.call("GET", "/operating-system-versions?")).body["operating_systems"]
    assert versions == (await world.call("GET", "/operating-systems")).body["operating_systems"]
    for query, count in (("slug=baremetal_1", 1), ("type=standard", 7), ("type=x", 0), ("categories[]=compute", 7)):
        for path in ("/plans", f"/projects/{world.project}/plans"):
            assert len((await world.call("GET", f"{path}?{query}")).body["plans"]) == count
    (metro, *_) = (await world.call("GET", "/locations/metros")).body["metros"]
    assert (await world.call("GET", f"/locations/metros/{metro['id']}")).body == metro
    for kind, path, names in (
        ("facilities", "/facilities", ("code", "id")),
        ("plans", "/plans", ("slug", "id")),
        ("operating_systems", "/operating-systems", ("slug", "id")),
    ):
        (one, *_) = (await world.call("GET", path)).body[kind]
        assert [(await world.call("GET", f"{path}/{one[name]}")).body for name in names] == [one, one]
        assert (await world.call("GET", f"{path}/nothing")).status == 404
    assert (await world.call("GET", "/plans/baremetal_1")).body["slug"] == "c1.small.x86"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", None),
        ("#!/bin/bash\necho 'x", None),
        ("#!\n", "no interpreter"),
        ("#cloud-config\npackages:\n  - git\nruncmd:\n- [ls, -l]\n# done\n", None),
        ("#cloud-config\nruncmd: [\n'ls',\n]\n", None),
        ("#cloud-config\npackages:\n\t- git\n", "line 3 is indented by a tab"),
        ("#cloud-config\npackages git\n", "line 2 stands at the margin"),
        ('#cloud-config\n{"packages": ["git"]}', None),
        ('{"ignition": {"version": "3.4.0"}}', None),
        ('{"ignition": {}}', "ignition.version None"),
        ('{"ignition": ', "begins as JSON and is none"),
        ("#!ipxe\nboot", None),
        ("machine:\n  type: worker\n", None),
    ],
)
async def test_userdata_is_looked_at(world: World, text: str, fault: str | None) -> None:
    answer = await world.call("POST", "/userdata/validate", {"userdata": text})
    assert answer.status == (204 if fault is None else 422), answer.body
    if fault is not None:
        assert fault in answer.body["errors"][0]


async def test_userdata_may_come_by_the_query(world: World) -> None:
    assert (await world.call("POST", "/userdata/validate?userdata=%23!%0a")).status == 422
    assert (await world.call("POST", "/userdata/validate", content=b"")).status == 204


@given(st.text())
def test_any_userdata_can_be_looked_at(text: str) -> None:
    assert all(isinstance(fault, str) for fault in faults_in(text))
    assert all(isinstance(fault, str) for fault in faults_in("#cloud-config\n" + text))
    assert all(isinstance(fault, str) for fault in faults_in("{" + text))


async def test_order_fields_of_clients(world: World) -> None:
    await world.add_machines(3)
    inline = [{"label": "laptop", "key": ED25519}]
    device = (
        await world.order(
            ssh_keys=inline,
            features=["tpm"],
            customdata='{"a": 1}',
            private_ipv4_subnet_size=31,
            ip_addresses=[{"address_family": 4, "public": False, "cidr": 31}, {"address_family": 4, "public": True}],
        )
    ).body
    assert device["customdata"] == {"a": 1}
    row = await world.db.fetchrow("SELECT ssh_keys FROM device WHERE id = $1", UUID(device["id"]))
    assert row["ssh_keys"] == [ED25519]
    changed = await world.call(
        "PATCH", f"/devices/{device['id']}", {"network_frozen": True, "locked": "true", "always_pxe": "1"}
    )
    assert changed.body["network_frozen"] and changed.body["locked"] and changed.body["always_pxe"]
    for path, body in (("?force_delete=true", None), ("", {"force_delete": True})):
        assert (await world.call("DELETE", f"/devices/{device['id']}{path}", body)).status == 422
    other = (await world.order(features={"tpm": "preferred"}, ip_addresses=[])).body
    assert (await world.call("DELETE", f"/devices/{other['id']}?force_delete=true")).status == 204

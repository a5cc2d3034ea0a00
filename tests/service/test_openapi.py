"""The OpenAPI document and its page, problem details, and methods that are not there.

Whether answers are as the document says is asked of each that a test of the API gets (`tests.service.documented`).
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import jsonschema  # type: ignore[import-untyped]
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.api.app import ALL_ROUTES, SIGNED
from service.api.models import CreateDevice, Request, read
from service.api.openapi import document
from service.api.problems import Invalid
from service.cli.main import main
from tests.service.api_world import World
from tests.service.documented import fault_of


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    """The document."""
    return document(ALL_ROUTES, SIGNED)


def test_the_document_is_valid(spec: dict[str, Any]) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(spec).iter_errors()] == []


def test_every_operation_is_told_in_words(spec: dict[str, Any]) -> None:
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            assert re.match(r"[A-Z0-9`].{3,}", operation["summary"]), (method, path)
            assert "/" + path.split("/")[1] not in operation["summary"], (method, path)
            assert all(one["description"] for one in operation["parameters"]), (method, path)


def test_every_route_says_what_it_answers() -> None:
    for route in ALL_ROUTES:
        answers = set(route.handler.__annotations__["return"].split(" | "))
        assert answers <= {"Body", "Document", "File", "Stream", "None"}, route
        assert ("Body" in answers) == (route.answer is not None), route
        assert (answers <= {"Body", "None"}) == (not route.documents), route
        assert route.status != 204 or answers == {"None"}, route


def test_what_is_signed_needs_no_token_and_names_its_headers(spec: dict[str, Any]) -> None:
    operation = spec["paths"]["/inbound/v1/facilities/{facility}/events"]["post"]
    headers = [one["name"] for one in operation["parameters"] if one["in"] == "header" and one["required"]]
    assert headers == ["webhook-id", "webhook-timestamp", "webhook-signature"] and operation["security"] == []
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    told = spec["components"]["schemas"][body.rpartition("/")[2]]
    assert told["required"] == ["kind", "machine", "at"]


def test_operations_have_names_of_their_own(spec: dict[str, Any]) -> None:
    names = [operation["operationId"] for operations in spec["paths"].values() for operation in operations.values()]
    assert len(names) == len(set(names))


async def test_it_is_served_without_a_token(world: World, spec: dict[str, Any]) -> None:
    answer = await world.call("GET", "/openapi.json", token=None)
    assert (answer.status, answer.body) == (200, json.loads(json.dumps(spec)))


async def test_the_page_shows_every_path_and_nothing_from_elsewhere(world: World, spec: dict[str, Any]) -> None:
    answer = await world.call("GET", "/docs", token=None)
    text = answer.body.decode()
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert all(f"{path}</span>" in text for path in spec["paths"])
    assert not re.search(r"<script|<link|src=|url\(|href=\"(?![#/])", text)


def test_the_command_prints_it(spec: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api", "spec"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(spec))


@pytest.mark.parametrize(
    "fields",
    [
        {
            "features": {},
            "tags": {},
            "locked": False,
            "user_ssh_keys": [],
            "userdata": "",
            "public_ipv4_subnet_size": 31,
        },
        {"tags": None, "spot_price_max": "0.1", "customdata": '{"a": 1}', "facility": ["any"], "locked": "false"},
        {"customdata": "", "storage": None, "ip_addresses": [], "hostname": "", "facility": "ewr1", "always_pxe": 0},
        {"ip_addresses": [{"address_family": 4, "public": False, "cidr": "31", "ip_reservations": None}]},
    ],
    ids=["packet-python", "packngo", "empty values", "addresses"],
)
def test_what_clients_send_is_as_documented(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    body = {"plan": "c1.small.x86", "operating_system": "debian_12", **fields}
    schema = {"$ref": "#/components/schemas/CreateDevice", "components": spec["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)
    read(CreateDevice, body)


def _types(schema: dict[str, Any]) -> set[str]:
    """What the schema of a field takes."""
    found = {schema["type"]} if isinstance(schema.get("type"), str) else set(schema.get("type", ()))
    return found.union(*(_types(one) for one in schema.get("anyOf", ())))


def test_no_number_is_told_by_true_or_false(spec: dict[str, Any]) -> None:
    numbers = 0
    for model in {route.body for route in ALL_ROUTES if route.body is not None}:
        for name, schema in spec["components"]["schemas"][model.__name__]["properties"].items():
            if _types(schema) & {"integer", "number"} and "boolean" not in _types(schema):
                with pytest.raises(Invalid) as refused:
                    read(cast(type[Request], model), {name: False})
                assert any("False" in error for error in refused.value.errors), (model, name, refused.value.errors)
                numbers += 1
    assert numbers > 20


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"capacity": {"ewr1": {"c1.small.x86": {"level": "plenty"}}}}, "plenty"),
        ({"capacity": {"ewr1": {"c1.small.x86": {"level": "normal", "free": 7}}}}, "free"),
        ({}, "capacity"),
    ],
    ids=["a value", "a key too many", "a key too few"],
)
def test_another_answer_than_the_documented_one_is_noticed(answer: dict[str, Any], why: str) -> None:
    fault = fault_of("GET", "/capacity", 200, "application/json", json.dumps(answer).encode())
    assert fault is not None and why in fault


def test_another_status_or_media_type_than_the_documented_one_is_noticed() -> None:
    assert "206, which is not" in str(fault_of("GET", "/capacity", 206, "application/json", b"{}"))
    assert "text/csv, which is not" in str(fault_of("GET", "/capacity", 200, "text/csv", b"{}"))
    assert "with nothing" in str(fault_of("GET", "/capacity", 200, "application/octet-stream", b""))
    inbox = "/inbound/v1/facilities/ewr1/events"
    assert "otherwise than" in str(fault_of("POST", inbox, 200, "application/json", b'{"id": 1}'))


async def test_a_method_that_is_not_there_names_those_that_are(world: World) -> None:
    answer = await world.call("DELETE", "/projects")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")


async def test_additions_answer_problem_details_below_v1(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    good = await world.call("GET", f"/v1/devices/{device}/wait?timeout=0")
    assert (good.status, good.body["id"]) == (200, device)
    for path, token, status in (
        (f"/v1/devices/{device}/wait?timeout=soon", "staff-token", 422),
        (f"/v1/devices/{world.project}/wait", "staff-token", 404),
        (f"/v1/devices/{device}/wait", "nobody's", 401),
        ("/v1/devices", "staff-token", 404),
    ):
        refused = await world.call("GET", path, token=token)
        problem = json.loads(refused.body)
        assert refused.headers["Content-Type"].startswith("application/problem+json")
        assert (refused.status, problem["status"], problem["type"]) == (status, status, "about:blank")
        assert problem["title"] and problem["detail"] == "; ".join(problem["errors"])
    dialects = await world.call("GET", f"/devices/{device}/wait?timeout=soon")
    assert dialects.headers["Content-Type"].startswith("application/json") and set(dialects.body) == {"errors"}

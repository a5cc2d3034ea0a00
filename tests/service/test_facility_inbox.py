"""Events that a facility signs: whose signature is good for how long, once for each id, of its own machines only."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hooks.signature import BadSignature, new_secret, signed_headers, verify
from tests.service.api_world import TOKEN, Answer, World

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
SECRET = "/admin/v1/facilities/ewr1/secret"


async def set_secret(world: World, facility: str = "ewr1", **asked: object) -> str:
    answer = await world.call("POST", f"/admin/v1/facilities/{facility}/secret", asked)
    assert answer.status == 200, answer.body
    secret: str = answer.body["secret"]
    return secret


def happened(kind: str = "failed", machine: str = "m0", ago_s: float = 60, **more: object) -> dict[str, Any]:
    return {"kind": kind, "machine": machine, "at": (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(), **more}


async def send(
    world: World,
    secret: str,
    id_: str,
    event: object,
    *,
    facility: str = "ewr1",
    signed_ago_s: int = 0,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    body = json.dumps(event).encode() if content is None else content
    signed = signed_headers(id_, int(time()) - signed_ago_s, body, [secret])
    url = f"{world.url}/inbound/v1/facilities/{facility}/events"
    async with world.http.post(url, data=body, headers=signed | (headers or {})) as answer:
        return Answer(answer.status, await answer.json(), answer.headers)


async def kept(world: World) -> int:
    return int(await world.db.fetchval("SELECT count(*) FROM facility_event"))


async def state_of(world: World, name: str) -> str:
    return str(await world.db.fetchval("SELECT state FROM machine WHERE name = $1", name))


async def test_a_signed_event_is_carried_out_once_and_names_its_teller(world: World) -> None:
    await world.add_machines(2)
    secret = await set_secret(world)
    event = happened(reason="smells")
    answers = await asyncio.gather(*(send(world, secret, "dcim-1", event) for _ in range(4)))
    assert {one.status for one in answers} == {200} and len({one.body["id"] for one in answers}) == 1
    told = answers[0].body
    assert (told["source"], told["given_id"], told["state"]) == ("facility:ewr1", "dcim-1", "applied")
    assert await state_of(world, "m0") == "quarantined" and await kept(world) == 1
    (row,) = (await world.call("GET", "/admin/v1/audit?actor=facility:ewr1&kind=machine")).body["audit"]
    assert (row["name"], row["after"]["state"], row["source"]) == ("m0", "quarantined", "127.0.0.1")
    assert row["path"] == "/inbound/v1/facilities/ewr1/events" and row["token"] is None

    other = await send(world, secret, "dcim-1", happened(machine="m1"))
    assert (other.status, other.body["errors"]) == (422, ["Id is not valid: 'dcim-1' was given to another event"])
    late = await send(world, secret, "dcim-2", happened("part_replaced", ago_s=90))
    assert late.body["state"] == "late"
    coming = await send(world, secret, "dcim-3", happened(ago_s=-3600))
    assert coming.status == 422 and "is yet to come" in coming.body["errors"][0]
    assert await state_of(world, "m1") == "ready" and await kept(world) == 2


async def test_what_is_not_signed_by_the_facility_changes_nothing(world: World) -> None:
    await world.add_machines(1)
    event = happened()
    nobody = await send(world, new_secret(), "a", event)
    secret = await set_secret(world)
    for answer in (
        nobody,
        await send(world, new_secret(), "a", event),
        await send(world, secret, "a", event, signed_ago_s=400),
        await send(world, secret, "a", event, signed_ago_s=-400),
        await send(world, secret, "a", event, facility="nowhere"),
        await send(world, secret, "a", event, facility="%00"),
        await send(world, secret, "a", event, headers={"webhook-id": "b"}),
        await send(world, secret, "a", event, headers={"webhook-timestamp": "soon"}),
        await send(world, secret, "a", event, headers={"webhook-timestamp": "9" * 400}),
        await send(world, secret, "a", event, headers={"webhook-signature": "v1,\u00e4"}),
        await send(world, secret, "a", event, headers={"X-Auth-Token": TOKEN, "webhook-signature": ""}),
    ):
        assert answer.status == 401 and answer.body == nobody.body
        assert answer.body["error"].startswith("The event is not signed with a secret of this facility")
    assert await kept(world) == 0 and await state_of(world, "m0") == "ready"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 400, "The body is not valid JSON"),
        (b"[]", 422, "The body is not valid: it must be a JSON object"),
        (b'{"machine": "\\u0000"}', 422, "The body is not valid: it holds NUL"),
        (b'{"kind": "burnt"}', 422, "Kind is not valid: 'burnt': "),
    ],
    ids=["no-json", "no-object", "nul", "kind"],
)
async def test_what_is_signed_and_wrong_is_told(world: World, content: bytes, status: int, said: str) -> None:
    secret = await set_secret(world)
    answer = await send(world, secret, "a", None, content=content)
    assert answer.status == status and answer.body["errors"][0].startswith(said)
    assert await kept(world) == 0


async def test_another_path_or_method_is_refused_in_the_api_s_words(world: World) -> None:
    inbox = "/inbound/v1/facilities/ewr1/events"
    answer = await world.call("DELETE", inbox, token=None)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert answer.body == {"errors": ["DELETE is not allowed here; allowed are POST"]}
    answer = await world.call("POST", inbox + "/1", {}, token=None)
    assert (answer.status, answer.body) == (404, {"errors": ["Not found"]})


async def test_a_facility_speaks_of_its_own_machines_only(world: World) -> None:
    await world.add_machines(1)
    await world.call("POST", "/admin/v1/facilities", {"code": "fra2", "name": "Frankfurt 2", "metro": "ny"})
    other = await set_secret(world, "fra2")
    answer = await send(world, other, "a", happened(), facility="fra2")
    assert (answer.body["state"], answer.body["outcome"]) == ("unknown", "no machine of fra2 is m0")
    # An operator who carries it out again does not widen what it may do.
    again = await world.call("POST", f"/admin/v1/facility-events/{answer.body['id']}/replay")
    assert again.body["state"] == "unknown" and await state_of(world, "m0") == "ready"
    assert (await send(world, other, "a", happened())).status == 401
    await set_secret(world)
    await world.add_machines(1, facility="fra2")
    own = await world.db.fetchval("SELECT name FROM machine ORDER BY name DESC LIMIT 1")
    cable = await send(world, other, "c", happened("moved", own, leaf="leaf-ewr1", port="xe-0/0/9"), facility="fra2")
    assert (cable.body["state"], cable.body["outcome"]) == ("refused", "there is no leaf leaf-ewr1 at fra2")


async def test_the_secret_is_sealed_rotated_with_an_overlap_and_taken_away(world: World) -> None:
    await world.add_machines(1)
    assert (await world.call("GET", SECRET)).body == {
        "facility": "ewr1",
        "set_at": None,
        "set_by": None,
        "old_until": None,
    }
    first = await set_secret(world)
    second = await set_secret(world, overlap_s=3600)
    shown = (await world.call("GET", SECRET)).body
    assert shown["set_by"] == f"user:{world.user}" and shown["old_until"] is not None
    for secret in (first, second):
        assert (await send(world, secret, f"id-{secret}", happened("racked"))).status == 200
    third = await set_secret(world, overlap_s=0)
    assert (await world.call("GET", SECRET)).body["old_until"] is None
    assert [(await send(world, one, "x", happened("racked"))).status for one in (first, second, third)] == [
        401,
        401,
        200,
    ]
    row = await world.db.fetchrow("SELECT secret, old_secret FROM facility_secret")
    assert all(one.encode() not in bytes(row[name]) for one in (second, third) for name in ("secret", "old_secret"))
    told = (await world.call("GET", "/admin/v1/audit?kind=facility_secret")).body["audit"]
    assert len(told) == 3 and not any(one in json.dumps(told) for one in (first, second, third))
    assert (await world.call("DELETE", SECRET)).status == 204
    assert (await world.call("DELETE", SECRET)).status == 404
    assert (await send(world, third, "y", happened("racked"))).status == 401
    for path in (SECRET.replace("ewr1", "nowhere"),):
        assert [(await world.call(method, path)).status for method in ("GET", "DELETE")] == [404, 404]
        assert (await world.call("POST", path, {})).status == 404
    assert (await world.call("POST", SECRET, {"overlap_s": -1})).status == 422


async def test_the_page_s_own_lines_sign_an_event(world: World) -> None:
    await world.add_machines(1)
    await world.db.execute("UPDATE machine SET name = 'm0042'")
    (script,) = re.findall(r"```sh\n(id=.*?)```", PAGE, re.DOTALL)
    env = os.environ | {"SECRET": await set_secret(world), "ROUNDHOUSE_API": world.url}
    process = await asyncio.create_subprocess_exec("sh", "-ec", script, env=env, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert json.loads(out)["outcome"] == "m0042 is in quarantine"


@given(st.text(), st.text(), st.text())
def test_no_header_breaks_the_receiver(id_: str, timestamp: str, signature: str) -> None:
    headers = {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": signature}
    with pytest.raises(BadSignature):
        verify(headers, b"{}", new_secret(), now=time())


async def test_what_is_no_event_is_refused_in_words(world: World) -> None:
    secret = await set_secret(world)
    for number, event in enumerate(([1], "x", 1, None, [], {"kind": "a\0b"})):
        answer = await send(world, secret, f"odd-{number}", event)
        assert answer.status == 422 and answer.body["errors"][0].startswith("The body is not valid: ")
    large = await send(world, secret, "large", None, content=b"[" + b"1," * 40_000 + b"1]")
    assert (large.status, large.body) == (413, {"errors": ["The body is too large: allowed are 64 KiB"]})
    assert await kept(world) == 0

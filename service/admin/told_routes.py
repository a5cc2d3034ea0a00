"""What an operator, or a boot service of old, tells in a machine's stead, by the dialect's paths."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from service.admin.named import machine_id_in
from service.api import device_schemas
from service.api.call import Body, Call, Route
from service.api.models import Maybe, Request, read
from service.api.problems import Invalid, not_found
from service.api.schemas import Answer
from service.metadata import told
from service.metadata.keep import Speaker, keep, keep_components, keep_problem, set_password
from service.metadata.told import BadBody, GaveUp, PhonedHome
from service.policy import Right
from service.store.orders import devices
from sql.loader import Q

_Type = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z0-9_]+)*$", max_length=80)]
_Said = Annotated[str, StringConstraints(max_length=2000)]


class ToldEvent(Request):
    """An event as it is to be recorded."""

    type: _Type
    body: Maybe[_Said] = None
    private: Maybe[bool] = None
    state: Maybe[Annotated[str, StringConstraints(max_length=40)]] = None


class ToldFailure(Request):
    """Why whatever ran on the machine could not go on."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    private: Maybe[bool] = None


class ToldPassword(Request):
    """The password that the system has set."""

    password: Annotated[str, StringConstraints(min_length=6, max_length=128)]


class ToldProblem(Request):
    """What is wrong with the hardware."""

    problem: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class ToldComponents(Request):
    """What the machine consists of."""

    components: Annotated[list[dict[str, Any]], Field(max_length=1000)]


async def _device(call: Call) -> Speaker:
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id]):
        raise not_found()
    return Speaker(device_id, None)


async def _speaker(call: Call) -> Speaker:
    return await _device(call) if "device" in call.ids else Speaker(None, await machine_id_in(call))


async def phone_home(call: Call) -> None:
    """POST /devices/{device}/phone-home, POST /hardware/{machine}/phone-home: the system is up, as if it had said so"""
    speaker = await _speaker(call)
    try:
        message = told.phone_home(call.body)
    except BadBody as err:
        raise Invalid(str(err)) from None
    if isinstance(message, PhonedHome) and speaker.device_id is None:
        await speaker.event(call.db, "machine.phone_home", "The machine has phoned home")
        return
    if not isinstance(message, PhonedHome | GaveUp | told.Happened):
        raise Invalid("password is not valid here: POST /devices/{device}/password takes one")
    await keep(call.db, call.api.key, speaker, message, now=call.api.clock.now())


async def tell_event(call: Call) -> Body:
    """POST /devices/{device}/events, POST /hardware/{machine}/events: record an event; answers with its id"""
    speaker, event = await _speaker(call), read(ToldEvent, call.body)
    body = event.body or event.type
    return await _told(call, speaker, event.type, body, private=bool(event.private), state=event.state)


async def _told(call: Call, speaker: Speaker, type_: str, body: str, **more: Any) -> Body:
    async with call.db.acquire() as conn, conn.transaction():
        await speaker.event(conn, type_, body, **more)
        event_id = await conn.fetchval(Q["latest_event"], speaker.device_id, speaker.machine_id, type_)
    return {"id": str(event_id)}


async def tell_failure(call: Call) -> None:
    """POST /devices/{device}/fail, POST /hardware/{machine}/fail: record why an installation could not go on"""
    speaker, failure = await _speaker(call), read(ToldFailure, call.body)
    private = failure.private is not False
    await speaker.event(call.db, "failure", failure.reason, private=private, data={"reason": failure.reason})


async def tell_password(call: Call) -> None:
    """POST /devices/{device}/password: the root password that the system has set; shown to the customer as its own"""
    speaker, asked = await _device(call), read(ToldPassword, call.body)
    await set_password(call.db, call.api.key, speaker, asked.password, now=call.api.clock.now())


async def tell_problem(call: Call) -> Body:
    """POST /hardware/{machine}/problems: something is wrong with the hardware; answers with the event's id"""
    machine_id, asked = await machine_id_in(call), read(ToldProblem, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        await keep_problem(conn, machine_id, asked.problem)
        event_id = await conn.fetchval(Q["latest_event"], None, machine_id, "machine.problem")
    return {"id": str(event_id)}


async def tell_components(call: Call) -> None:
    """POST /hardware/{machine}/components: what the machine consists of, beside what its agent has told"""
    machine_id, asked = await machine_id_in(call), read(ToldComponents, call.body)
    await keep_components(call.db, machine_id, asked.components)


def _both(
    what: str,
    handler: Any,
    *,
    status: int = 200,
    body: type[Request] | None = None,
    answer: type[Answer] | None = None,
) -> tuple[Route, Route]:
    more: dict[str, Any] = {"status": status, "body": body, "answer": answer, "audited": False}
    return (
        Route("POST", f"/devices/{{device}}/{what}", handler, right=Right.SUPPORT, **more),
        Route("POST", f"/hardware/{{machine}}/{what}", handler, right=Right.FACILITY, **more),
    )


ROUTES = (
    *_both("phone-home", phone_home),
    *_both("events", tell_event, status=201, body=ToldEvent, answer=device_schemas.Told),
    *_both("fail", tell_failure, body=ToldFailure),
    Route("POST", "/devices/{device}/password", tell_password, right=Right.SUPPORT, body=ToldPassword, audited=False),
    Route(
        "POST",
        "/hardware/{machine}/problems",
        tell_problem,
        status=201,
        right=Right.FACILITY,
        body=ToldProblem,
        audited=False,
        answer=device_schemas.Told,
    ),
    Route(
        "POST",
        "/hardware/{machine}/components",
        tell_components,
        right=Right.FACILITY,
        body=ToldComponents,
        audited=False,
    ),
)

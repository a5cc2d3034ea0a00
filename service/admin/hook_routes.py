"""Operators' hooks: who is told of what, who is asked about what, how that went, and asking again."""

from __future__ import annotations

from typing import get_args
from uuid import UUID, uuid4

import asyncpg

from service.admin import hook_schemas
from service.api.call import Body, Call, Route
from service.api.hook_objects import delivery, hook, question
from service.api.hook_schemas import Delivery
from service.api.models import read
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, Parameter, choice
from service.api.problems import Invalid, Refused, not_found, shown
from service.hooks import changes
from service.hooks.asking import decide
from service.hooks.senders import senders
from service.hooks.sending import BadProgram, program_in
from service.hooks.targets import BadTarget, check_url
from service.hooks.telling import deliver_again, test_hook
from service.hooks.wishes import ChangeHook, CreateHook, GiveVerdict, Replay, Rotate, not_askable
from service.policy import Right
from service.secrets import open_sealed
from service.store.hooks import (
    DeliveryState,
    Hook,
    NewHook,
    Owner,
    QuestionSeen,
    QuestionState,
    Verdict,
    deliveries_of,
    delivery_of,
    hook_of,
    hooks_of,
    questions_seen,
)
from service.store.rows import Connection
from service.workflows.ask_again import NothingToAsk, ask_question_again
from sql.loader import Q

_OPERATOR = Owner()
_DELIVERY_STATES = get_args(DeliveryState)
_QUESTION_STATES = get_args(QuestionState)


async def _found(call: Call, db: Connection | None = None) -> Hook:
    """The path's hook, by id or name. Raises Refused (404)."""
    found = await hook_of(call.db if db is None else db, _OPERATOR, call.ids["hook"])
    if found is None:
        raise not_found()
    return found


async def _again(conn: Connection, found: Hook) -> Body:
    changed = await hook_of(conn, _OPERATOR, str(found.id))
    assert changed is not None
    return hook(changed)


def _check_target(call: Call, kind: str, target: str) -> None:
    try:
        if kind == "webhook":
            check_url(target, None)
        else:
            program_in(call.api.settings.hooks_dir, target)
    except (BadTarget, BadProgram) as err:
        raise Invalid(f"Target is not valid: {shown(target)}: {err}") from None


async def list_hooks(call: Call) -> Body:
    """GET /admin/v1/hooks: the operator's hooks, each with how far it was told and what is wrong with it"""
    return {"hooks": [hook(one) for one in await hooks_of(call.db, _OPERATOR)]}


async def create_hook(call: Call) -> Body:
    """POST /admin/v1/hooks: have a URL or a program told of transitions, or asked before them

    The answer has the `secret` that is signed with; it is not told again.
    """
    asked, hook_id = read(CreateHook, call.body), uuid4()
    _check_target(call, asked.kind, asked.target)
    if asked.mode == "ask" and (why := not_askable(asked.follows)):
        raise Invalid(why)
    now, key = call.api.clock.now(), call.api.key
    async with call.db.acquire() as conn, conn.transaction():
        try:
            await changes.add(
                conn, _OPERATOR, hook_id, NewHook(**asked.model_dump()), by=call.caller.actor, now=now, key=key
            )
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Name is not valid: {shown(asked.name)}: there is a hook of that name") from None
        made = await hook_of(conn, _OPERATOR, str(hook_id))
    assert made is not None
    return hook(made) | {"secret": open_sealed(key, made.secret)}


async def get_hook(call: Call) -> Body:
    """GET /admin/v1/hooks/{hook}: one hook, by id or name"""
    return hook(await _found(call))


async def change_hook(call: Call) -> Body:
    """PATCH /admin/v1/hooks/{hook}: another target, other transitions, limits, on or off

    What it missed while it was off it is told when it is on again.
    """
    asked = read(ChangeHook, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        found = await _found(call, conn)
        await conn.fetchval(Q["lock_hook"], found.id)
        found = await _found(call, conn)
        if asked.target is not None:
            _check_target(call, found.kind, asked.target)
        if asked.follows is not None and found.mode == "ask" and (why := not_askable(asked.follows)):
            raise Invalid(why)
        await changes.change(conn, found, asked.model_dump(exclude_none=True), now=call.api.clock.now())
        return await _again(conn, found)


async def delete_hook(call: Call) -> None:
    """DELETE /admin/v1/hooks/{hook}: nothing is told or asked any more, and what was is forgotten"""
    await call.db.execute(Q["remove_hook"], (await _found(call)).id)


async def rotate_secret(call: Call) -> Body:
    """POST /admin/v1/hooks/{hook}/secret: a new secret, told once; the old one signs, too, for `overlap_s` seconds"""
    asked = read(Rotate, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        found = await _found(call, conn)
        secret = await changes.rotate(conn, found, asked.overlap_s, now=call.api.clock.now(), key=call.api.key)
        return await _again(conn, found) | {"secret": secret}


async def try_hook(call: Call) -> Body:
    """POST /admin/v1/hooks/{hook}/test: send a test now, and tell what was answered"""
    found = await _found(call)
    async with senders(call.api) as ways:
        return delivery(await test_hook(call.db, ways, found))


async def replay(call: Call) -> Body:
    """POST /admin/v1/hooks/{hook}/replay: tell everything behind the cursor `from` again"""
    asked = read(Replay, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        found = await _found(call, conn)
        if found.mode == "ask":
            raise Invalid(f"hook {found.name} is asked and not told; a question is asked again by its own replay")
        await changes.rewind(conn, found, asked.from_, now=call.api.clock.now())
        return await _again(conn, found)


async def list_deliveries(call: Call) -> Body:
    """GET /admin/v1/hooks/{hook}/deliveries: what was told, latest first, with what was answered"""
    found, page, state = await _found(call), page_of(call), _state(call, _DELIVERY_STATES)
    total = await call.db.fetchval(Q["count_deliveries"], found.id, state)
    rows = await deliveries_of(call.db, found.id, state=state, limit=page.size, offset=page.offset)
    return {"deliveries": [delivery(one) for one in rows], "meta": meta(call, page, total)}


def _state(call: Call, allowed: tuple[str, ...]) -> str | None:
    state = call.word("state")
    if state is not None and state not in allowed:
        raise Invalid(f"state is not valid: {shown(state)} is not one of {', '.join(allowed)}")
    return state


async def redeliver(call: Call) -> Body:
    """POST /admin/v1/hooks/{hook}/deliveries/{delivery}/replay: tell one thing again, now"""
    found = await _found(call)
    one = await delivery_of(call.db, found.id, call.id("delivery"))
    if one is None:
        raise not_found()
    async with senders(call.api) as ways:
        return delivery(await deliver_again(call.db, ways, found, one))


async def list_questions(call: Call) -> Body:
    """GET /admin/v1/hook-questions: what hooks were asked, latest first, with who decided what and why

    Narrowed by hook, machine (each by id or name) and state.
    """
    hook_id, machine_id, state = None, None, _state(call, _QUESTION_STATES)
    if (name := call.word("hook")) is not None:
        asked = await hook_of(call.db, _OPERATOR, name)
        if asked is None:
            return {"questions": []}
        hook_id = asked.id
    if (machine := call.word("machine")) is not None:
        machine_id = await call.db.fetchval(Q["machine_named"], machine)
        if machine_id is None:
            return {"questions": []}
    rows = await questions_seen(call.db, hook_id=hook_id, machine_id=machine_id, state=state)
    return {"questions": [question(one) for one in rows]}


async def get_question(call: Call) -> Body:
    """GET /admin/v1/hook-questions/{question}: one question"""
    return question(await _question(call, call.id("question")))


async def _question(call: Call, id_: UUID) -> QuestionSeen:
    found = await questions_seen(call.db, question_id=id_)
    if not found:
        raise not_found()
    return found[0]


async def answer_question(call: Call) -> Body:
    """POST /admin/v1/hook-questions/{question}: the answer that a hook put off with status 202, or an operator's own

    The first answer counts; for a later one the status is 409.
    """
    asked, id_ = read(GiveVerdict, call.body), call.id("question")
    await _question(call, id_)
    verdict: Verdict = "allowed" if asked.verdict == "allow" else "vetoed"
    reason = asked.reason or ("no reason was given" if verdict == "vetoed" else None)
    now = call.api.clock.now()
    first = await decide(call.db, id_, verdict, by=call.caller.actor, reason=reason, now=now)
    found = await _question(call, id_)
    if not first:
        why = f": {found.reason}" if found.reason else ""
        raise Refused(409, f"the question was decided before: {found.state} by {found.decided_by}{why}")
    return question(found)


async def replay_question(call: Call) -> Body:
    """POST /admin/v1/hook-questions/{question}/replay: ask again after a veto

    About a machine that is held back the hooks are asked at once; one in quarantine is prepared again, which asks.
    """
    found = await _question(call, call.id("question"))
    try:
        await ask_question_again(call.db, found, now=call.api.clock.now(), settings=call.api.settings)
    except NothingToAsk as err:
        raise Invalid(str(err)) from None
    return question((await questions_seen(call.db, machine_id=found.machine_id, limit=1))[0])


_LOOK, _WORK, _FACILITY = Right.LOOK, Right.OPERATE, Right.FACILITY
_HOOK = "/admin/v1/hooks/{hook}"
_QUESTION = "/admin/v1/hook-questions/{question}"
ROUTES = (
    Route("GET", "/admin/v1/hooks", list_hooks, objects="hooks", right=_LOOK, answer=hook_schemas.Hook),
    Route(
        "POST", "/admin/v1/hooks", create_hook, status=201, right=_WORK, body=CreateHook, answer=hook_schemas.HookMade
    ),
    Route("GET", _HOOK, get_hook, right=_LOOK, answer=hook_schemas.Hook),
    Route("PATCH", _HOOK, change_hook, right=_WORK, body=ChangeHook, answer=hook_schemas.Hook),
    Route("DELETE", _HOOK, delete_hook, status=204, right=_WORK),
    Route("POST", f"{_HOOK}/secret", rotate_secret, right=_WORK, body=Rotate, answer=hook_schemas.HookMade),
    Route("POST", f"{_HOOK}/test", try_hook, right=_WORK, answer=Delivery),
    Route("POST", f"{_HOOK}/replay", replay, right=_WORK, body=Replay, answer=hook_schemas.Hook),
    Route(
        "GET",
        f"{_HOOK}/deliveries",
        list_deliveries,
        objects="deliveries",
        right=_LOOK,
        query=(*PAGES, choice("state", "In this state.", *_DELIVERY_STATES)),
        answer=Delivery,
    ),
    Route("POST", f"{_HOOK}/deliveries/{{delivery}}/replay", redeliver, right=_WORK, answer=Delivery),
    Route(
        "GET",
        "/admin/v1/hook-questions",
        list_questions,
        objects="questions",
        right=_LOOK,
        query=(
            Parameter("hook", "Asked of this hook, by id or name."),
            Parameter("machine", "About this machine, by id or name."),
            choice("state", "In this state.", *_QUESTION_STATES),
        ),
        answer=hook_schemas.HookQuestion,
    ),
    Route("GET", _QUESTION, get_question, right=_LOOK, answer=hook_schemas.HookQuestion),
    Route("POST", _QUESTION, answer_question, right=_FACILITY, body=GiveVerdict, answer=hook_schemas.HookQuestion),
    Route("POST", f"{_QUESTION}/replay", replay_question, right=_FACILITY, answer=hook_schemas.HookQuestion),
)

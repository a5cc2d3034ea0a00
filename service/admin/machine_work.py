"""What operators have the agent of a machine do: burn it in, let somebody log in, run a firmware bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from service.admin import schemas
from service.admin.asked_first import hooks_allow, still_allowed
from service.admin.named import machine_id_in, machine_in
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Strict, read
from service.api.numbers import no_truth
from service.api.problems import Invalid, not_found
from service.burn_limits import LIMITS, NAMES
from service.firmware_bundles import NoBundle, bundle_named
from service.lifecycle import MACHINE, IllegalMove, MachineEvent, MachineState
from service.policy import Right
from service.ssh_keys import BadKey, parse_public_key
from service.store.hardware import Machine, StateMoved, machine_by_id
from service.store.rows import Connection
from service.workflows.burn_in import PARTS, start_burn_in, start_firmware
from service.workflows.rescue import end_ssh, start_ssh
from sql.loader import Q


def _named(limits: dict[str, float | None]) -> dict[str, float | None]:
    for name, value in limits.items():
        if name not in NAMES:
            raise ValueError(f"{name!r} is not one of {', '.join(NAMES)}")
        if value is not None and not 0 <= value < 1e12:
            raise ValueError(f"{name} is {value}; allowed is 0 to 1e12")
    return limits


class BurnIn(Strict):
    """How long a machine is burnt in, and what of it."""

    minutes: Annotated[int, Field(ge=1, le=1200)] = 60
    parts: list[Literal["cpu", "memory", "disk", "network"]] = Field(default_factory=lambda: list(PARTS))  # type: ignore[arg-type]


class Login(Strict):
    """Whose SSH keys open a machine."""

    keys: Annotated[list[str], Field(min_length=1, max_length=50)]


class Firmware(Strict):
    """A file of firmware_dir, and the program in it."""

    bundle: str
    program: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: list[str] = Field(default_factory=list, max_length=100)
    minutes: Annotated[int, Field(ge=1, le=600)] = 30


class Limits(Strict):
    """Limits of a plan's burn-in by name; null takes the usual one again."""

    limits: Annotated[dict[str, Annotated[float | None, BeforeValidator(no_truth)]], AfterValidator(_named)]


Start = Callable[[Connection, Machine, datetime], Awaitable[None]]


async def burn_in(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/burn-in: have the agent work the machine hard and look at how it bears that"""
    asked = read(BurnIn, call.body)

    async def start(conn: Connection, machine: Machine, now: datetime) -> None:
        if not asked.parts:
            raise Invalid(f"parts: none is given; allowed are {', '.join(PARTS)}")
        _not_preparing(machine)
        settings, seconds = call.api.settings, 60 * asked.minutes
        await start_burn_in(conn, machine.id, seconds=seconds, parts=list(asked.parts), now=now, settings=settings)

    return await _start(call, start)


async def ssh_on(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/ssh-on: let somebody log in to the agent's system with these keys"""
    asked = read(Login, call.body)
    try:
        keys = [parse_public_key(key).line for key in asked.keys]
    except BadKey as err:
        raise Invalid(f"keys: {err}") from None

    async def start(conn: Connection, machine: Machine, now: datetime) -> None:
        await start_ssh(conn, machine.id, keys, now=now, settings=call.api.settings)

    return await _start(call, start, MachineEvent.MAINTAIN)


async def ssh_off(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/ssh-off: nobody may log in to the agent's system any more"""

    async def start(conn: Connection, machine: Machine, now: datetime) -> None:
        await end_ssh(conn, machine.id, now=now, settings=call.api.settings)

    return await _start(call, start, MachineEvent.GIVE_BACK)


async def firmware(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/firmware: have the agent run a program of a firmware bundle"""
    asked = read(Firmware, call.body)
    try:
        bundle = await asyncio.to_thread(bundle_named, call.api.settings, asked.bundle)
    except NoBundle as err:
        raise Invalid(f"bundle: {err}") from None

    async def start(conn: Connection, machine: Machine, now: datetime) -> None:
        _not_preparing(machine)
        await start_firmware(
            conn,
            machine.id,
            bundle,
            program=asked.program,
            arguments=asked.arguments,
            limit_s=60 * asked.minutes,
            now=now,
            settings=call.api.settings,
        )

    return await _start(call, start)


async def _start(call: Call, start: Start, transition: MachineEvent | None = None) -> Body:
    """Find the machine, which no device may be on, and start what was asked for: by this transition, where there is
    one, which hooks are asked about.
    """

    async def asks(_conn: Connection, machine: Machine) -> tuple[MachineEvent, ...]:
        """Nothing where the machine is one that is refused anyway."""
        if transition is None or machine.device_id is not None or (machine.state, transition) not in MACHINE:
            return ()
        return (transition,)

    seen = await machine_in(call)
    await hooks_allow(call, seen, asks)
    async with call.db.acquire() as conn, conn.transaction():
        machine = await machine_in(call, conn)
        if transition is not None:
            machine = await still_allowed(conn, machine.id, seen, asks)
        if machine.device_id is not None:
            raise Invalid(f"machine {machine.name} belongs to device {machine.device_id}; delete that first")
        try:
            await start(conn, machine, call.api.clock.now())
        except (IllegalMove, StateMoved) as err:
            raise Invalid(str(err)) from None
        state = (await machine_by_id(conn, machine.id)).state
    return {"id": str(machine.id), "state": state}


def _not_preparing(machine: Machine) -> None:
    if machine.state is MachineState.PREPARING:
        raise Invalid(f"machine {machine.name} is being prepared; ask again when that has ended")


async def list_work(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/work: the latest pieces of work of its agent, newest first"""
    machine_id = await machine_id_in(call)
    return {"work": [_work(dict(row)) for row in await call.db.fetch(Q["work_of_machine"], machine_id)]}


def _work(row: Body) -> Body:
    times = {name: None if row[name] is None else stamp(row[name]) for name in row if name.endswith("_at")}
    return row | times | {"id": str(row["id"])}


async def get_limits(call: Call) -> Body:
    """GET /admin/v1/plans/{plan}/burn-in: the limits of the plan's burn-in"""
    own = await call.db.fetchval(Q["burn_in_limits_of_plan"], call.ids["plan"])
    if own is None:
        raise not_found()
    return _limits(own)


async def set_limits(call: Call) -> Body:
    """PATCH /admin/v1/plans/{plan}/burn-in: limits by name; null takes the usual one again"""
    asked = read(Limits, call.body)
    own = await call.db.fetchval(Q["set_burn_in_limits"], call.ids["plan"], asked.limits)
    if own is None:
        raise not_found()
    return _limits(own)


def _limits(own: dict[str, float]) -> Body:
    return {
        "limits": [
            {"name": one.name, "value": own.get(one.name, one.usual), "usual": one.usual, "of": one.words}
            for one in LIMITS
        ]
    }


ROUTES = (
    Route(
        "POST",
        "/admin/v1/machines/{machine}/burn-in",
        burn_in,
        right=Right.FACILITY,
        status=202,
        body=BurnIn,
        answer=schemas.MachineNow,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/ssh-on",
        ssh_on,
        right=Right.FACILITY,
        status=202,
        body=Login,
        answer=schemas.MachineNow,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/ssh-off",
        ssh_off,
        right=Right.FACILITY,
        status=202,
        answer=schemas.MachineNow,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/firmware",
        firmware,
        right=Right.FACILITY,
        status=202,
        body=Firmware,
        answer=schemas.MachineNow,
    ),
    Route(
        "GET",
        "/admin/v1/machines/{machine}/work",
        list_work,
        right=Right.LOOK,
        objects="work",
        answer=schemas.AgentWork,
    ),
    Route(
        "GET",
        "/admin/v1/plans/{plan}/burn-in",
        get_limits,
        right=Right.LOOK,
        objects="limits",
        answer=schemas.BurnInLimit,
    ),
    Route(
        "PATCH",
        "/admin/v1/plans/{plan}/burn-in",
        set_limits,
        right=Right.OPERATE,
        body=Limits,
        objects="limits",
        answer=schemas.BurnInLimit,
    ),
)

"""Acts of operators that hooks are asked about before they are done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from service.api.call import Call
from service.api.problems import Refused, not_found
from service.hooks.asking import MachineMoved, Vetoed, permitted, still_permitted
from service.lifecycle import MachineEvent
from service.store.hardware import Machine, locked_machine
from service.store.rows import Connection

# What hooks are asked before an act, by the machine as it is.
Asks = Callable[[Connection, Machine], Awaitable[tuple[MachineEvent, ...]]]


async def hooks_allow(call: Call, machine: Machine, asks: Asks) -> None:
    """Return when all hooks that are asked before the act allow it. For handlers without an open transaction, which
    look again by `still_allowed`. Raises Refused (409) with the reason of a veto.
    """
    for transition in await asks(call.db, machine):
        try:
            await permitted(call.db, call.api.hub, call.api.clock, transition, machine.id)
        except Vetoed as err:
            raise Refused(409, str(err)) from None


async def still_allowed(conn: Connection, machine_id: UUID, seen: Machine, asks: Asks) -> Machine:
    """The machine, locked for the act's transaction. Raises Refused: 404 when it has gone, 409 when it is no longer the
    one that hooks were asked about and they would be asked again.
    """
    try:
        machine = await locked_machine(conn, machine_id)
    except KeyError:
        raise not_found() from None
    try:
        await still_permitted(conn, seen, machine, await asks(conn, machine))
    except MachineMoved as err:
        raise Refused(409, str(err)) from None
    return machine

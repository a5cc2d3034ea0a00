"""Acts of operators that hooks are asked about before they are done."""

from __future__ import annotations

from uuid import UUID

from service.api.call import Call
from service.api.problems import Refused
from service.hooks.asking import Vetoed, permitted
from service.lifecycle import MachineEvent


async def hooks_allow(call: Call, machine_id: UUID, *transitions: MachineEvent) -> None:
    """Return when all hooks that are asked before these transitions allow them. For handlers without an open
    transaction. Raises Refused (409) with the reason of a veto.
    """
    for transition in transitions:
        try:
            await permitted(call.db, call.api.hub, call.api.clock, transition, machine_id)
        except Vetoed as err:
            raise Refused(409, str(err)) from None

"""Every call that the leaf knows, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netconf.render import Element
from service.lab.leaf import junos, operational, rfc
from service.lab.leaf.lldp import neighbors_reply

if TYPE_CHECKING:
    from service.lab.leaf.session import NetconfSession

Call = Callable[["NetconfSession", Element], Awaitable[rfc.Parts]]


async def _lldp_neighbors(session: NetconfSession, operation: Element) -> rfc.Parts:
    return [neighbors_reply(session.leaf.neighbors)]


def _read(answer: Callable[[Element, operational.Condition], Element]) -> Call:
    async def call(session: NetconfSession, operation: Element) -> rfc.Parts:
        return [answer(operation, session.leaf.condition())]

    return call


CALLS: dict[str, Call] = {
    "get": rfc.get,
    "get-config": rfc.get_config,
    "lock": rfc.lock,
    "unlock": rfc.unlock,
    "edit-config": rfc.edit_config,
    "validate": rfc.validate,
    "discard-changes": rfc.discard_changes,
    "commit": rfc.commit,
    "cancel-commit": rfc.cancel_commit,
    "close-session": rfc.close_session,
    "kill-session": rfc.kill_session,
    "lock-configuration": junos.lock_configuration,
    "unlock-configuration": junos.unlock_configuration,
    "open-configuration": junos.open_configuration,
    "close-configuration": junos.close_configuration,
    "load-configuration": junos.load_configuration,
    "commit-configuration": junos.commit_configuration,
    "get-configuration": junos.get_configuration,
    "get-commit-information": junos.get_commit_information,
    "get-rollback-information": junos.get_rollback_information,
    "get-system-information": junos.get_system_information,
    "get-lldp-neighbors-information": _lldp_neighbors,
    "get-interface-information": _read(operational.interface_information),
    "get-route-information": _read(operational.route_information),
    "get-bgp-neighbor-information": _read(operational.bgp_neighbor_information),
    "get-bgp-summary-information": _read(operational.bgp_summary_information),
}

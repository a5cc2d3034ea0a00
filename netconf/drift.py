"""What of ours on a leaf is not as it should be, when nothing of ours is under way there."""

from __future__ import annotations

from dataclasses import dataclass

from netconf.compare import compared
from netconf.desired import Leaf
from netconf.owned import owned_objects, set_lines
from netconf.render import configuration
from netconf.session import LeafSession


@dataclass(frozen=True, slots=True)
class Drift:
    """How what runs differs from what is desired. To repair it is to apply; to accept it, to desire something else."""

    added: tuple[str, ...]  # `set` statements that run and are not desired
    removed: tuple[str, ...]  # and that are desired and do not run
    text: str  # the same as Junos' `show | compare`, with + for what was added; also a changed order of terms

    def __bool__(self) -> bool:
        return bool(self.text)


async def read_drift(session: LeafSession, desired: Leaf) -> Drift:
    """Compare the leaf's owned objects in its running configuration with what they should be; changes nothing.

    What somebody else owns is not looked at. Raises Unreachable, OutcomeUnknown.
    """
    wanted, running = owned_objects(configuration(desired)), owned_objects(await session.get_config("running"))
    should, does = set(set_lines(wanted)), set(set_lines(running))
    return Drift(tuple(sorted(does - should)), tuple(sorted(should - does)), compared(wanted, running))

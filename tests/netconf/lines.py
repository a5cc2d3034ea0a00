"""What of a leaf is ours, in `set` form: as it should be, and as it runs."""

from __future__ import annotations

from netconf.desired import Leaf
from netconf.owned import desired_objects, owned_objects
from netconf.session import LeafSession
from netconf.statements import set_lines
from netconf.transaction import read_running


def desired_lines(leaf: Leaf) -> list[str]:
    """What the leaf's owned objects should read as."""
    return set_lines(desired_objects(leaf))


async def read_owned(session: LeafSession) -> list[str]:
    """What the leaf's owned objects read as, from its running configuration."""
    return set_lines(owned_objects(await read_running(session)))

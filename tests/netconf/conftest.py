"""A virtual leaf, and ways to speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from netconf.session import LeafSession, open_session
from service.lab.leaf import VirtualLeaf
from tests.netconf.test_transaction import PORTS, address
from tests.netconf.wire import Wire, wire


@pytest.fixture
async def leaf() -> AsyncIterator[VirtualLeaf]:
    """A leaf of eight ports on which nobody has set anything yet."""
    made = await VirtualLeaf.start("leaf1", PORTS, username="rh", password="secret")
    yield made
    await made.stop()


@pytest.fixture
async def session(leaf: VirtualLeaf) -> AsyncIterator[LeafSession]:
    """The service's own session with the leaf."""
    async with open_session(address(leaf)) as opened:
        yield opened


@pytest.fixture
async def call(leaf: VirtualLeaf) -> AsyncIterator[Wire]:
    """A session that sends an operation as it stands and gives back what came."""
    async with wire(leaf) as made:
        yield made

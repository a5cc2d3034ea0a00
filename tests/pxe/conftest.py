"""What every test of the boot protocols must keep: the machine that it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

_RESOLVER = Path("/etc/resolv.conf")


@pytest.fixture(autouse=True)
def resolver_untouched() -> Iterator[None]:
    """A DHCP client that sets up more than its namespace takes the name service of the whole machine away."""
    before = _RESOLVER.read_bytes() if _RESOLVER.exists() else None
    yield
    assert (_RESOLVER.read_bytes() if _RESOLVER.exists() else None) == before

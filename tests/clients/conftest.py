"""One lab for all the clients that a test process runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.cloud import Cloud, running_cloud

_MACHINES = 12


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A lab that answers at the names which clients have built in."""
    with running_cloud(tmp_path_factory.mktemp("cloud"), machines=_MACHINES) as running:
        yield running

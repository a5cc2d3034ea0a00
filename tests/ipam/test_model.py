"""The address manager against a plain picture of it, by hypothesis and by a short soak; see tests/ipam/play."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from service.store.rows import Pool, open_pool
from tests.ipam.checks import assert_agrees, assert_no_overlap
from tests.ipam.model import Violation
from tests.ipam.play.setting import RULES, Everybody, make_world
from tests.ipam.soak import Soak, soak

_worlds = count(1)


class Drawn:
    """Choices that hypothesis makes, and makes simpler when they lead to a violation; names come from a generator."""

    def __init__(self, number: int) -> None:
        self.data: st.DataObject | None = None
        self._names = random.Random(number)

    def below(self, end: int) -> int:
        if self.data is None:
            return self._names.randrange(end)
        return self.data.draw(st.integers(0, end - 1))


class Machine(RuleBasedStateMachine):
    """One world, compared with the whole ledger after every step."""

    runner: asyncio.Runner
    pool: Pool

    def __init__(self) -> None:
        super().__init__()
        number = next(_worlds)
        self._drawn = Drawn(number)
        self._world = self.runner.run(make_world(self.pool, number))
        self._player = Everybody(self.pool, self._world, self._drawn, owners=4)

    def act(self, name: str, data: st.DataObject) -> None:
        """One act, and the proof that everything is right after it."""
        self._drawn.data = data
        self.runner.run(self._act(name))

    async def _act(self, name: str) -> None:
        await self._player.act(name)
        async with self.pool.acquire() as conn:
            await assert_agrees(conn, self._world, whole_ledger=True)


def _rule(name: str) -> Callable[..., None]:
    def act(self: Machine, data: st.DataObject) -> None:
        self.act(name, data)

    act.__name__ = name
    made: Callable[..., None] = rule(data=st.data())(act)
    return made


for _name in RULES:
    setattr(Machine, _name, _rule(_name))


def test_whatever_is_done_the_ledger_says_what_happened(database_url: str) -> None:
    with asyncio.Runner() as runner:
        Machine.runner, Machine.pool = runner, runner.run(open_pool(database_url, size=3))
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=25,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            Machine.pool.terminate()


def test_a_short_soak_by_two_processes(database_url: str) -> None:
    told: list[str] = []
    result = soak(database_url, Soak(operations=2000, seed=random.randrange(2**32), workers=2, scale=1), told.append)
    assert result.violation is None, result.violation
    assert result.operations >= 2000
    # What was tried was also done, and not only rightly refused.
    done = {outcome.removesuffix(" done") for outcome in result.outcomes if outcome.endswith(" done")}
    assert done >= {"take", "take_many", "give_back", "reserve", "route", "move", "unroute", "correct", "set_status"}
    assert "0 violations" in told[-1]


def _row(block: str, since: int, until: int | None, **other: Any) -> dict[str, Any]:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    return {
        "vrf_id": 1,
        "block": ip_network(block),
        "kind": "held",
        "corrected_at": None,
        "since": start + timedelta(hours=since),
        "until": None if until is None else start + timedelta(hours=until),
        **other,
    }


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (_row("10.0.0.0/31", 0, 2), _row("10.0.0.0/31", 1, 3), True),
        (_row("10.0.0.0/31", 0, 1), _row("10.0.0.0/31", 1, None), False),
        (_row("10.0.0.0/24", 0, None), _row("10.0.0.8/32", 5, 6), True),
        (_row("10.0.0.8/32", 0, 5), _row("10.0.0.0/24", 5, None), False),
        (_row("2001:db8::/64", 0, None), _row("2001:db8::8/127", 1, None), True),
        (_row("10.0.0.0/31", 0, 2), _row("10.0.0.0/31", 1, 3, vrf_id=2), False),
        (_row("10.0.0.0/31", 0, 2), _row("10.0.0.0/32", 1, 3, kind="routed"), False),
        (_row("10.0.0.0/31", 0, 2), _row("10.0.0.0/31", 1, 3, corrected_at=1), False),
    ],
)
def test_the_check_itself_sees_an_overlap(first: Any, second: Any, overlap: bool) -> None:
    rows = [_row("10.0.0.0/16", -9, -1), first, _row("10.0.0.0/16", 9, None, vrf_id=3), second]
    if not overlap:
        assert_no_overlap(rows)
        return
    with pytest.raises(Violation):
        assert_no_overlap(rows)

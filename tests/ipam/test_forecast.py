"""The forecast's arithmetic: exact on a line, wide on noise, and never a date where there is no trend."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.forecast import CONFIDENCE, FEWEST_DAYS, HORIZON, forecast, student_t

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

counts = st.lists(st.integers(0, 10**6), min_size=FEWEST_DAYS + 1, max_size=60)


@given(st.integers(1, 1000), st.integers(FEWEST_DAYS, 90), st.integers(0, 10**6), st.integers(1, 10**5))
def test_a_straight_line_is_followed_exactly(step: int, days: int, first: int, left: int) -> None:
    found = forecast([first + step * day for day in range(days + 1)], left, NOW)
    assert found.days == days and found.per_day == found.per_day_low == found.per_day_high == step
    if left > step * HORIZON.days:
        assert found.state == "beyond 10 years" and found.exhausted_at is None
    else:
        assert found.state == "growing"
        assert found.exhausted_at == found.earliest == found.latest == NOW + timedelta(days=left / step)


@given(counts, st.integers(1, 10**6))
def test_dates_lie_in_their_interval_and_only_growth_has_them(series: list[int], left: int) -> None:
    found = forecast(series, left, NOW)
    assert found.per_day is not None and found.per_day_low is not None and found.per_day_high is not None
    assert found.per_day_low <= found.per_day <= found.per_day_high
    assert found.per_day == pytest.approx((series[-1] - series[0]) / (len(series) - 1))
    if found.state != "growing":
        assert (found.exhausted_at, found.earliest, found.latest) == (None, None, None)
        assert series[-1] <= series[0] or found.state == "beyond 10 years"
        return
    assert found.exhausted_at is not None and found.earliest is not None and found.per_day > 0
    assert NOW < found.earliest <= found.exhausted_at
    if found.latest is None:
        assert found.per_day_low * HORIZON.days < left
    else:
        assert found.exhausted_at <= found.latest


@given(counts, st.integers(1, 10**6), st.integers(1, 50))
def test_counting_in_another_unit_changes_no_date(series: list[int], left: int, size: int) -> None:
    one, other = forecast(series, left, NOW), forecast([count * size for count in series], left * size, NOW)
    assert one.state == other.state
    for name in ("exhausted_at", "earliest"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or abs(mine - theirs) < timedelta(seconds=10)


@given(counts, st.integers(-10, 0))
def test_what_is_full_is_full(series: list[int], left: int) -> None:
    assert forecast(series, left, NOW).state == "exhausted"
    assert forecast([], left, NOW).state == "exhausted"


@given(st.lists(st.integers(0, 100), max_size=FEWEST_DAYS))
def test_of_a_few_days_no_trend_is_told(series: list[int]) -> None:
    found = forecast(series, 1, NOW)
    assert found.state == "too little history" and found.per_day is None and found.exhausted_at is None


@pytest.mark.parametrize(("degrees", "table"), [(6, 2.4469), (9, 2.2622), (29, 2.0452), (120, 1.9799)])
def test_students_t_is_the_tables(degrees: int, table: float) -> None:
    assert student_t(degrees) == pytest.approx(table, rel=1e-4)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Orders come and go by chance, day by day; the true drift is known here."""
    chance, hits, tries = random.Random(7), 0, 2000
    for _ in range(tries):
        series = [1000]
        for _ in range(30):
            series.append(series[-1] + sum(chance.random() < 0.5 for _ in range(10)) - chance.randrange(7))
        found = forecast(series, 100, NOW)
        assert found.per_day_low is not None and found.per_day_high is not None
        hits += found.per_day_low <= 5 - 3 <= found.per_day_high
    assert hits / tries == pytest.approx(CONFIDENCE, abs=0.02)

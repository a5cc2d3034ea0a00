"""The judgement on a new release: tables of counts and times, and what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.releases.judge import Results, at_least, by_chance, judge, quantile

STEADY = tuple(30.0 + number / 10 for number in range(100))


def results(well: int, failed: int) -> Results:
    """So many installs of half a minute, and so many failures."""
    return Results((30.0,) * well, failed)


@pytest.mark.parametrize(
    ("new", "old", "action"),
    [
        ((0, 0), (0, 0), "wait"),
        ((9, 0), (100, 0), "wait"),
        ((10, 0), (100, 0), "raise"),
        ((10, 0), (0, 0), "raise"),
        ((0, 1), (0, 0), "wait"),
        ((0, 1), (10, 0), "wait"),
        ((0, 1), (100, 0), "roll_back"),
        ((0, 2), (0, 0), "roll_back"),
        ((1, 1), (0, 0), "wait"),
        ((10, 1), (20, 0), "wait"),
        ((10, 2), (200, 2), "wait"),
        ((10, 3), (200, 2), "roll_back"),
        ((10, 3), (60, 20), "raise"),
        ((50, 3), (50, 1), "raise"),
        ((100, 6), (1000, 5), "roll_back"),
        ((10_000, 300), (10_000, 100), "raise"),
        ((30, 30), (30, 30), "raise"),
        ((10, 20), (60, 30), "roll_back"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_failures(new: tuple[int, int], old: tuple[int, int], action: str) -> None:
    verdict = judge(results(*new), results(*old), percent=5, enough=10, at_this_step=new[0])
    assert verdict.action == action
    assert verdict.reason


@pytest.mark.parametrize(
    ("new", "old", "action"),
    [
        (STEADY, STEADY, "raise"),
        ((*STEADY[:20], 300.0), STEADY, "raise"),  # one slow machine proves nothing
        ((*STEADY[:10], 300.0, 200.0), STEADY, "roll_back"),
        (tuple(2 * one for one in STEADY), STEADY, "roll_back"),
        (tuple(1.4 * one for one in STEADY), STEADY, "raise"),  # slower, but within the factor
        ((300.0,) * 9, STEADY, "wait"),  # too few to compare, and not enough for the next step
        ((300.0,) * 10, STEADY[:9], "raise"),  # too few of the old ones
        ((10.0,) * 20, STEADY, "raise"),
    ],
    ids=["same", "one-slow", "two-slow", "twice", "within", "few", "few-before", "faster"],
)
def test_times(new: tuple[float, ...], old: tuple[float, ...], action: str) -> None:
    verdict = judge(Results(new, 0), Results(old, 0), percent=5, enough=10, at_this_step=len(new))
    assert verdict.action == action


@pytest.mark.parametrize(
    ("percent", "action", "following"),
    [
        (5, "raise", 25),
        (10, "raise", 25),
        (25, "raise", 50),
        (50, "raise", 100),
        (99, "raise", 100),
        (100, "complete", 100),
    ],
    ids=str,
)
def test_steps(percent: int, action: str, following: int) -> None:
    verdict = judge(results(40, 0), results(40, 0), percent=percent, enough=10, at_this_step=10)
    assert (verdict.action, verdict.percent) == (action, following)


def test_successes_of_an_earlier_step_do_not_count_for_the_next() -> None:
    assert judge(results(40, 0), results(40, 0), percent=25, enough=10, at_this_step=9).action == "wait"


@pytest.mark.parametrize(
    ("first", "second", "probability"),
    [((0, 5), (0, 5), 1.0), ((1, 1), (0, 10), 1 / 11), ((3, 3), (0, 3), 0.05), ((8, 10), (1, 10), 0.002738)],
    ids=str,
)
def test_fisher(first: tuple[int, int], second: tuple[int, int], probability: float) -> None:
    """The last: of the 184756 ways to choose ten of twenty, 9 · 55 + 1 · 11 have eight or nine of the failures."""
    assert by_chance(*first, *second) == pytest.approx(probability, rel=1e-3)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_more_failures_are_never_more_probable(failed: int, well: int, failed_before: int, well_before: int) -> None:
    one = by_chance(failed, failed + well, failed_before, failed_before + well_before)
    assert 0 <= one <= 1 + 1e-12
    if well:
        assert by_chance(failed + 1, failed + well, failed_before, failed_before + well_before) <= one + 1e-12


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200), st.integers(0, 40))
def test_a_release_that_fails_no_more_often_is_never_rolled_back(w: int, f: int, old_w: int, old_f: int) -> None:
    new, old = results(w, f), results(old_w, old_f)
    if new.failure_rate <= old.failure_rate:
        assert judge(new, old, percent=5, enough=10, at_this_step=w).action != "roll_back"


def test_the_binomial_tail() -> None:
    assert at_least(0, 10, 0.01) == pytest.approx(1)
    assert at_least(1, 10, 0.01) == pytest.approx(1 - 0.99**10)
    assert at_least(2, 2, 0.5) == 0.25


@pytest.mark.parametrize(("part", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)], ids=str)
def test_a_quantile_is_one_of_the_values(part: float, value: int) -> None:
    assert quantile([float(number) for number in range(1, 101)], part) == value

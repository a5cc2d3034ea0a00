"""A boot token is good for its own port, for an hour, whatever the clocks of two nodes say within ten minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.boot.token import LIFE, SKEW, BadToken, issue, read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = bytes(range(32))
PORT = UUID(int=7)


def made(at: datetime = NOW) -> str:
    """A token of that moment."""
    return issue(KEY, PORT, now=at, nonce=b"12345678")


@given(st.timedeltas(-SKEW, LIFE + SKEW), st.binary(min_size=8, max_size=8))
def test_it_is_read_back_while_it_lasts(age: timedelta, nonce: bytes) -> None:
    token = issue(KEY, PORT, now=NOW, nonce=nonce)
    found = read([bytes(1), KEY], token, PORT, now=NOW + age)
    assert (found.port_id, found.issued_at) == (PORT, NOW)
    # A kernel's command line and iPXE's carry it as one word.
    assert len(token) == 64 and token.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("age", [-SKEW - timedelta(seconds=1), LIFE + SKEW + timedelta(seconds=1)])
def test_it_is_refused_too_early_and_too_late(age: timedelta) -> None:
    with pytest.raises(BadToken, match="12:00:00 UTC"):
        read([bytes(1), KEY], made(), PORT, now=NOW + age)


@given(st.integers(0, 63), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_a_changed_letter_is_noticed(at: int, letter: str) -> None:
    token = made()
    if token[at] != letter:
        with pytest.raises(BadToken):
            read([bytes(1), KEY], token[:at] + letter + token[at + 1 :], PORT, now=NOW)


@given(st.text(max_size=80))
def test_junk_is_refused_and_nothing_else_is_raised(junk: str) -> None:
    with pytest.raises(BadToken):
        read([bytes(1), KEY], junk, PORT, now=NOW)


def test_another_port_and_another_key_are_refused() -> None:
    with pytest.raises(BadToken, match="another port"):
        read([bytes(1), KEY], made(), UUID(int=8), now=NOW)
    with pytest.raises(BadToken, match="no boot token of ours"):
        read([bytes(32)], made(), PORT, now=NOW)

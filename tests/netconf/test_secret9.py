"""Junos' `$9$` form of secrets: what others have published reads as they say, and all that is written reads back."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconf.secret9 import MAGIC, NotHidden, decode, encode, normal

_KNOWN = {
    "$9$LbHX-wg4Z": "lc",
    "$9$nnet/9pOBEyrv": "abc",
    "$9$aaZGiq.5F39": "abc",
    "$9$nnet/p01RhrKM": "123",
    "$9$nnet9pBcSe8xdApK8xdg4aZUi.5": "netconan",
    "$9$FNkC3/t1IcevLuOWx": "hello",
    "$9$o1aGiPfz/Cuk.tO": "hello",
    "$9$2GgZjHkPQ39.PhrvLVb.P5Tz6": "password",
}
_TEXTS = st.text(max_size=64)


@pytest.mark.parametrize(("hidden", "text"), _KNOWN.items())
def test_published_secrets_read_as_published(hidden: str, text: str) -> None:
    assert decode(hidden) == text
    assert normal(hidden) == normal(text)


@pytest.mark.parametrize("text", ["", "abcd", MAGIC, "$9$asd", "$9$asdf*", "$9$dLw2ajHmFnCZUnCtuEhVw", "$1$LbHX-wg4Z"])
def test_what_is_not_of_this_form_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NotHidden):
        decode(text)


@given(text=_TEXTS, seed=st.integers(0, 9999))
def test_what_is_hidden_reads_back_and_varies(text: str, seed: int) -> None:
    hidden = encode(text, Random(seed))
    assert decode(hidden) == text
    assert normal(hidden) == normal(text) or text.startswith(MAGIC)
    assert len({encode(text, Random(one)) for one in range(40)}) > 1


@given(one=_TEXTS, other=_TEXTS | st.sampled_from([*_KNOWN, "$9$asd"]))
def test_the_normal_form_is_one_per_text_and_its_own(one: str, other: str) -> None:
    for text in (one, other):
        assert normal(normal(text)) == normal(text)
    assert (normal(one) == normal(other)) is (decode(normal(one)) == decode(normal(other)))


@given(text=st.sampled_from(list(_KNOWN)))
def test_a_password_that_looks_hidden_is_kept_as_it_is_when_it_is_hidden_first(text: str) -> None:
    assert decode(normal(encode(text, Random(0)))) == text

"""Ranges and entity tags, against a second reading of RFC 9110 that is slower and plainer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pxe.ranges import Part, Unsatisfiable, has_already, part_asked

ETAG = '"abc"'


@given(size=st.integers(0, 40), first=st.integers(0, 50), last=st.none() | st.integers(0, 50))
def test_a_range_is_the_bytes_that_it_names(size: int, first: int, last: int | None) -> None:
    content = bytes(range(size))
    named = bytes(n for n in content if n >= first and (last is None or n <= last))
    try:
        part = part_asked({"Range": f"bytes={first}-{'' if last is None else last}"}, ETAG, size)
    except Unsatisfiable:
        assert not named
        return
    if last is not None and last < first:
        assert part is None
    else:
        assert part is not None and content[part.start : part.stop] == named != b""


@given(size=st.integers(0, 40), suffix=st.integers(0, 50))
def test_a_suffix_is_the_end(size: int, suffix: int) -> None:
    content = bytes(range(size))
    try:
        part = part_asked({"Range": f"bytes=-{suffix}"}, ETAG, size)
    except Unsatisfiable:
        assert not size or not suffix
        return
    assert part is not None and content[part.start : part.stop] == content[-suffix:]


@given(st.text(max_size=60) | st.from_regex(r"\A(bytes|BYTES)? ?= ?[-0-9, ]{0,60}\Z"), st.integers(0, 1000))
def test_no_header_does_harm(text: str, size: int) -> None:
    try:
        part = part_asked({"Range": text}, ETAG, size)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part.start < part.stop <= size


def test_other_cases() -> None:
    assert part_asked({"Range": "bytes=1-2"}, ETAG, 9) == Part(1, 3, 9)
    assert part_asked({"Range": "Bytes=1-99999999999999999999"}, ETAG, 9) == Part(1, 9, 9)
    assert part_asked({"Range": "bytes=1-2,4-5"}, ETAG, 9) is None
    assert part_asked({"Range": "lines=1-2"}, ETAG, 9) is None
    assert part_asked({"Range": "bytes=" + "9" * 8000 + "-"}, ETAG, 9) is None
    # A weak entity tag does not vouch for single bytes (RFC 9110 §13.1.5).
    assert part_asked({"Range": "bytes=1-2", "If-Range": f"W/{ETAG}"}, ETAG, 9) is None


@given(st.lists(st.sampled_from(['"abc"', 'W/"abc"', '"x"', '"a,b"', "junk"]), max_size=5))
def test_an_entity_tag_is_found_in_a_list(tags: list[str]) -> None:
    assert has_already({"If-None-Match": ", ".join(tags)}, ETAG) == any(tag in ('"abc"', 'W/"abc"') for tag in tags)

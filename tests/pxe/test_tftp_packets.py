"""TFTP's packets and terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.tftp import packets

_ETHERNET = 1468


def _request(name: bytes, mode: bytes = b"octet", more: bytes = b"") -> bytes:
    return b"\0\1" + name + b"\0" + mode + b"\0" + more


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"undionly.kpxe", "undionly.kpxe"),
        (b"/undionly.kpxe", "undionly.kpxe"),
        (b"\\undionly.kpxe", "undionly.kpxe"),
        (b"//grub//x86_64-efi/./normal.mod", "grub/x86_64-efi/normal.mod"),
        (b"\\grub\\grub.cfg", "grub/grub.cfg"),
        (b"", ""),
        (b"..hidden", "..hidden"),
    ],
    ids=["plain", "slash", "backslash", "slashes", "backslashes", "none", "dots"],
)
def test_a_name_is_told_in_one_way(written: bytes, name: str) -> None:
    assert packets.read_request(_request(written)).name == name


@pytest.mark.parametrize(
    ("datagram", "code", "text"),
    [
        (_request(b"a/../b"), packets.ACCESS_VIOLATION, '".."'),
        (_request(b"..\\b"), packets.ACCESS_VIOLATION, '".."'),
        (_request(b"caf\xc3\xa9"), packets.ACCESS_VIOLATION, "ASCII"),
        (_request(b"a\nb"), packets.ACCESS_VIOLATION, "printable"),
        (_request(b"a" * 256), packets.ACCESS_VIOLATION, "255"),
        (_request(b"a", b"netascii"), packets.ILLEGAL_OPERATION, "netascii"),
        (_request(b"a", b"mail"), packets.ILLEGAL_OPERATION, "octet"),
        (b"\0\2a\0octet\0", packets.ACCESS_VIOLATION, "not written"),
    ],
    ids=["up", "up-backslash", "non-ascii", "newline", "long", "netascii", "mail", "write"],
)
def test_what_is_refused_is_said(datagram: bytes, code: int, text: str) -> None:
    with pytest.raises(packets.Refused, match=text) as refused:
        packets.read_request(datagram)
    assert refused.value.code == code
    assert packets.error(code, str(refused.value)).isascii()


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\0", b"\0\1", b"\0\1a", b"\0\1a\0octet", b"\0\1a\0octet\0x", b"\0\4\0\1", b"\0\x09aaaa", b"\0\3\0\1data"],
    ids=["empty", "half", "bare", "no-end", "no-mode-end", "no-value", "ack", "unknown", "data"],
)
def test_what_is_no_request_is_malformed(datagram: bytes) -> None:
    with pytest.raises(packets.Malformed):
        packets.read_request(datagram)


def test_options_without_a_value_are_left_out() -> None:
    """RFC 2090's multicast, and zeros at the end of a request."""
    request = packets.read_request(_request(b"a", b"OcTeT", b"multicast\0\0BlkSize\x001468\0tsize\x000\0\0\0\0"))
    assert request.options == {"blksize": "1468", "tsize": "0"}


def test_a_request_is_read_as_it_was_written() -> None:
    options = {"blksize": "1468", "windowsize": "4", "tsize": "0"}
    assert packets.read_request(packets.rrq("a/b", options)) == packets.ReadRequest("a/b", options)
    assert packets.read_oack(packets.oack(options)) == options


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({}, {}),
        ({"blksize": "1468", "tsize": "0"}, {"blksize": "1468", "tsize": "7000"}),
        ({"blksize": "65464", "windowsize": "64"}, {"blksize": "1468", "windowsize": "16"}),
        ({"blksize": "512", "windowsize": "4"}, {"blksize": "512", "windowsize": "4"}),
        ({"timeout": "3"}, {"timeout": "3"}),
        ({"blksize": "7", "windowsize": "0", "timeout": "0", "tsize": "x"}, {}),
        ({"blksize": "65465", "windowsize": "65536", "timeout": "256", "tsize": "-1"}, {}),
        ({"blksize": "1_0", "windowsize": "+4", "timeout": " 3", "tsize": "9" * 40}, {}),
        ({"rollover": "0", "utimeout": "100"}, {}),
    ],
    ids=["none", "ipxe", "too-much", "ovmf", "timeout", "too-little", "out-of-range", "no-number", "unknown"],
)
def test_terms(options: dict[str, str], accepted: dict[str, str]) -> None:
    terms = packets.negotiate(options, 7000, _ETHERNET)
    assert terms.accepted == accepted
    assert terms.blksize == int(accepted.get("blksize", 512))
    assert terms.windowsize == int(accepted.get("windowsize", 1))


@given(
    st.dictionaries(st.sampled_from(["blksize", "windowsize", "timeout", "tsize"]), st.text(max_size=12)),
    st.integers(0, 10**9),
    st.integers(1, 70_000),
)
def test_terms_are_within_bounds(options: dict[str, str], size: int, path: int) -> None:
    terms = packets.negotiate(options, size, path)
    assert 8 <= terms.blksize <= max(path, 512)
    assert 1 <= terms.windowsize <= 16
    assert terms.timeout_s is None or 1 <= terms.timeout_s <= 255
    assert set(terms.accepted) <= set(options)


_SEEDS = st.sampled_from(
    [
        b"\0\1undionly.kpxe\0octet\0blksize\x001432\0tsize\x000\0",  # iPXE
        b"\0\1snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",  # OVMF
        b"\0\1/grub/grub.cfg\0octet\0blksize\x001024\0tsize\x000\0",  # GRUB
        b"\0\1pxelinux.0\0octet\0tsize\x000\0",  # Intel's ROM
    ]
)


@given(_SEEDS, st.data())
def test_any_datagram_is_a_request_or_is_refused(seed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(seed)))
    taken = data.draw(st.integers(0, 4))
    datagram = seed[:at] + data.draw(st.binary(max_size=20)) + seed[at + taken :]
    try:
        request = packets.read_request(datagram)
    except packets.Refused as refused:
        assert len(packets.error(refused.code, str(refused))) < 400  # an answer is not much larger than its question
        return
    except packets.Malformed:
        return
    assert ".." not in request.name.split("/")
    assert not request.name.startswith("/")
    packets.negotiate(request.options, 1000, _ETHERNET)


@given(st.binary(max_size=40))
def test_any_other_datagram_is_read_or_none(datagram: bytes) -> None:
    assert packets.opcode(datagram) in range(65536)
    block = packets.acknowledged_block(datagram)
    assert block is None or packets.ack(block) == datagram[:4]
    data = packets.data_block(datagram)
    assert data is None or packets.data(*data) == datagram

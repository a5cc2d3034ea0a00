"""The sending side of TFTP as a pure machine, against a model of a receiver on links that lose, double and reorder."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxe.tftp import packets
from pxe.tftp.packets import Terms
from pxe.tftp.sender import LEAST_WAIT_S, MOST_WAIT_S, PATIENCE_S, UNHEARD_SENDS, Sender


def _cut(sender: Sender, datagrams: bytes) -> list[bytes]:
    if not sender.heard:
        return [datagrams] if datagrams else []
    size = sender.datagram_size
    return [datagrams[at : at + size] for at in range(0, len(datagrams), size)]


def _blocks(sender: Sender, datagrams: bytes) -> list[int]:
    found = [packets.data_block(one) for one in _cut(sender, datagrams)]
    return [one[0] for one in found if one is not None]


def _terms(blksize: int = 512, windowsize: int = 1, timeout_s: int | None = None) -> Terms:
    return Terms(blksize, windowsize, timeout_s, {"blksize": str(blksize)})


@dataclass
class Receiver:
    """RFC 7440's client: it acknowledges a whole window, the last block, and what it has where there is a gap."""

    blksize: int
    windowsize: int
    got: list[bytes] = field(default_factory=list)
    in_window: int = 0
    gap_told: bool = False
    done: bool = False

    def take(self, datagram: bytes) -> bytes | None:
        """The client's answer, if it has one."""
        data = packets.data_block(datagram)
        if data is None:
            return packets.ack(0) if not self.got else None
        block, content = data
        if self.done:
            return packets.ack(len(self.got))  # it lingers, in case its last ACK was lost
        if block != (len(self.got) + 1) & 0xFFFF:
            was_doubled = (len(self.got) - block) & 0xFFFF < 1000
            if self.gap_told or was_doubled:
                return None
            self.gap_told = True
            return packets.ack(len(self.got))
        self.got.append(content)
        self.in_window += 1
        self.gap_told = False
        self.done = len(content) < self.blksize
        if self.in_window < self.windowsize and not self.done:
            return None
        self.in_window = 0
        return packets.ack(len(self.got))


@dataclass
class Link:
    """What the two say to each other, with every datagram's own fate; the client repeats itself after `patience`."""

    sender: Sender
    receiver: Receiver
    chance: random.Random
    lose: float
    double: float
    patience: float = 1.0
    now: float = 100.0
    sends: int = 0
    flying: list[tuple[float, int, bool, bytes]] = field(default_factory=list)
    number: int = 0

    def run(self) -> bool:
        """Until both are done; whether the file has come over whole."""
        asked_at = self.now
        last: bytes | None = None
        self._send(self.sender.start(self.now))
        while not (self.sender.finished or self.sender.given_up):
            arrives = self.flying[0][0] if self.flying else float("inf")
            repeats = float("inf") if self.receiver.done else asked_at + self.patience
            self.now = max(self.now, min(arrives, repeats, self.sender.deadline))
            if arrives <= self.now:
                _, _, to_client, datagram = heapq.heappop(self.flying)
                if not to_client:
                    self._send(self.sender.acknowledged(packets.acknowledged_block(datagram) or 0, self.now))
                elif (answer := self.receiver.take(datagram)) is not None:
                    last, asked_at = answer, self.now
                    self._fly(False, answer)
                continue
            if repeats <= self.now:
                asked_at = self.now
                if last is None:
                    self._send(self.sender.asked_again(self.now))
                else:
                    last = packets.ack(len(self.receiver.got))
                    self.receiver.in_window = 0
                    self._fly(False, last)
            if self.sender.deadline <= self.now and not self.sender.finished:
                self._send(self.sender.timed_out(self.now))
        return self.receiver.done

    def _send(self, datagrams: bytes) -> None:
        for one in _cut(self.sender, datagrams):
            self.sends += 1
            self._fly(True, one)

    def _fly(self, to_client: bool, datagram: bytes) -> None:
        if self.chance.random() < self.lose:
            return
        for _ in range(2 if self.chance.random() < self.double else 1):
            self.number += 1
            when = self.now + self.chance.uniform(0.0001, 0.003)
            heapq.heappush(self.flying, (when, self.number, to_client, datagram))


@settings(max_examples=300)
@given(
    st.integers(0, 3000),
    st.integers(8, 600),
    st.integers(1, 16),
    st.sampled_from([None, 1, 5]),
    st.booleans(),
    st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([0.05, 0.2, 1.0, 5.0]),
    st.integers(0, 2**32),
)
def test_a_file_comes_over_whole_or_is_given_up(
    size: int,
    blksize: int,
    windowsize: int,
    timeout_s: int | None,
    with_options: bool,
    lose: float,
    double: float,
    patience: float,
    seed: int,
) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(size)
    terms = _terms(blksize, windowsize, timeout_s) if with_options else Terms()
    sender, receiver = Sender(content, terms), Receiver(terms.blksize, terms.windowsize)
    link = Link(sender, receiver, chance, lose, double, patience)
    whole = link.run()
    if sender.finished:
        assert whole
        assert b"".join(receiver.got) == content
    if lose == 0.0:
        assert sender.finished
    blocks = size // terms.blksize + 1
    # Each block goes out once, and something is sent again only for a loss, a reordered window or a wait in vain.
    assert link.sends <= blocks + 1 + (sender.resent + blocks) * terms.windowsize
    if lose == 0.0 and terms.windowsize == 1:
        assert link.sends == blocks + bool(terms.accepted)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ack"), st.integers(0, 65535)),
            st.tuples(st.just("near"), st.integers(-20, 20)),
            st.tuples(st.just("request"), st.just(0)),
            st.tuples(st.just("time"), st.just(0)),
        ),
        max_size=200,
    ),
    st.integers(1, 16),
    st.booleans(),
)
def test_no_client_gets_more_than_it_asks_for(events: list[tuple[str, int]], windowsize: int, forged: bool) -> None:
    """Whatever a client says: a window for each thing it says, and a bounded number by the clock in between."""
    content = bytes(100_000)
    sender, now = Sender(content, _terms(512, windowsize)), 0.0
    sends, said, acked = len(_cut(sender, sender.start(now))), 1, 0
    for kind, number in events:
        if sender.finished or sender.given_up:
            break
        now += 0.01
        said += 1
        match kind:
            case "ack" if forged:
                out = sender.acknowledged(number, now)
            case "ack" | "near":
                acked = max(0, acked + (number % 20 if kind == "ack" else number))
                out = sender.acknowledged(acked & 0xFFFF, now)
            case "request":
                out = sender.asked_again(now)
            case _:
                now = max(now, sender.deadline)
                out = sender.timed_out(now)
        assert len(_cut(sender, out)) <= windowsize
        sends += len(_cut(sender, out))
    assert sends <= said * windowsize
    assert sender.acknowledged_bytes <= len(content)


def _silence(sender: Sender, now: float) -> tuple[int, float]:
    """How often it sends to somebody who says nothing more, and when it gives up."""
    sends = 0
    while not sender.given_up:
        now = sender.deadline
        sends += bool(sender.timed_out(now))
    return sends, now


def test_one_that_never_answers_gets_four_datagrams() -> None:
    for terms in (Terms(), _terms(1468, 16), _terms(timeout_s=255)):
        sender = Sender(bytes(5000), terms)
        assert len(sender.start(0.0)) <= 516
        sends, until = _silence(sender, 0.0)
        assert 1 + sends == UNHEARD_SENDS
        assert until <= 10


@pytest.mark.parametrize("timeout_s", [None, 1, 5, 255], ids=str)
def test_one_that_falls_silent_is_given_up(timeout_s: int | None) -> None:
    sender = Sender(bytes(5000), _terms(timeout_s=timeout_s))
    sender.start(0.0)
    sender.acknowledged(0, 0.001)
    sends, until = _silence(sender, 0.001)
    assert sends <= 25
    assert until >= PATIENCE_S


def test_one_that_says_the_same_for_ever_is_given_up() -> None:
    sender, now, sends = Sender(bytes(5000), _terms()), 0.0, 0
    sender.start(now)
    sender.acknowledged(0, now)
    while not sender.given_up:
        now += 0.3
        sends += bool(sender.acknowledged(0, now))
        if now >= sender.deadline:
            sends += bool(sender.timed_out(now))
    assert sends <= 45


def test_the_wait_follows_the_path() -> None:
    """A LAN's packet is sent again after 0.1 s, that of a slow path later; and the waits double."""
    waits = {}
    for round_trip in (0.001, 0.2, 3.0):
        sender, now = Sender(bytes(50_000), _terms()), 0.0
        sender.start(now)
        for block in range(20):
            now += round_trip
            sender.acknowledged(block, now)
        waits[round_trip] = sender.deadline - now
        first = sender.deadline
        sender.timed_out(first)
        assert sender.deadline - first == pytest.approx(2 * waits[round_trip])
    assert waits[0.001] == pytest.approx(LEAST_WAIT_S)
    assert 0.2 < waits[0.2] < 0.4
    assert waits[3.0] == MOST_WAIT_S


def test_a_slow_path_is_learnt_though_every_first_packet_was_sent_again() -> None:
    """Karn: a round trip of which it is not known which send it belongs to is not measured, but the wait is kept."""
    sender = Sender(bytes(50_000), _terms())
    sender.start(0.0)
    sender.timed_out(sender.deadline)
    sender.acknowledged(0, 0.8)  # the answer to the first OACK
    assert sender.deadline - 0.8 == pytest.approx(1.0)
    sender.acknowledged(1, 1.6)
    assert sender.resent == 1


def test_the_clients_timeout_bounds_every_wait() -> None:
    sender, now = Sender(bytes(5000), _terms(timeout_s=1)), 0.0
    sender.start(now)
    sender.acknowledged(0, 0.001)
    now = 0.001
    while not sender.given_up:
        assert sender.deadline - now <= 1.0001
        now = sender.deadline
        sender.timed_out(now)


def test_a_doubled_ack_makes_nothing_be_sent() -> None:
    """The sorcerer's apprentice (RFC 1123 §4.2.3.1)."""
    sender = Sender(bytes(5000), Terms())
    assert _blocks(sender, sender.start(0.0)) == [1]
    assert _blocks(sender, sender.acknowledged(1, 0.001)) == [2]
    assert sender.acknowledged(1, 0.002) == b""
    assert sender.acknowledged(0, 0.003) == b""
    assert _blocks(sender, sender.acknowledged(2, 0.004)) == [3]


def test_an_ack_repeated_after_a_wait_is_answered() -> None:
    sender = Sender(bytes(5000), Terms())
    sender.start(0.0)
    sender.acknowledged(1, 0.001)
    sender.timed_out(0.601)  # it would wait longer now
    assert _blocks(sender, sender.acknowledged(1, 0.601 + 0.55)) == [2]


@pytest.mark.parametrize(("told", "then"), [(3, [4, 5, 6, 7]), (4, [5, 6, 7, 8]), (1, [2, 3, 4, 5])], ids=str)
def test_a_window_goes_on_after_the_block_that_came(told: int, then: list[int]) -> None:
    """RFC 7440 §4."""
    sender = Sender(bytes(512 * 20), _terms(512, 4))
    sender.start(0.0)
    assert _blocks(sender, sender.acknowledged(0, 0.001)) == [1, 2, 3, 4]
    assert _blocks(sender, sender.acknowledged(told, 0.002)) == then
    assert sender.acknowledged(0, 0.003) == b""


@pytest.mark.parametrize(("size", "blocks"), [(0, 1), (511, 1), (512, 2), (1024, 3)], ids=str)
def test_the_last_block_is_a_short_one(size: int, blocks: int) -> None:
    sender = Sender(bytes(size), Terms())
    sent = [sender.start(0.0)]
    while not sender.finished:
        sent.append(sender.acknowledged(len(sent), 0.0))
    assert len(sent) - 1 == blocks  # the last ACK is answered by nothing
    assert len(sent[-2]) == 4 + size % 512


def test_block_numbers_go_round() -> None:
    sender = Sender(bytes(8 * 140_000 + 1), _terms(8, 16))
    blocks, out = 0, sender.start(0.0)
    out = sender.acknowledged(0, 0.0)
    while not sender.finished:
        blocks += len(_blocks(sender, out))
        out = sender.acknowledged(blocks & 0xFFFF, 0.0)
    assert blocks == 140_001
    assert sender.acknowledged_bytes == 8 * 140_000 + 1

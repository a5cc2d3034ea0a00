"""The sending side of one TFTP transfer: packets and moments in, packets out; no socket and no clock."""

from __future__ import annotations

import struct

from pxe.tftp.packets import DATA, Terms, oack

# How long an answer takes is measured, as TCP does it (RFC 6298): a packet lost on a LAN costs 0.1 s, not a second.
LEAST_WAIT_S = 0.1
MOST_WAIT_S = 1.0  # unless the client said what its timeout is
_FIRST_WAIT_S = 0.5
# Round trips that are all shorter lead to the least wait (RFC 6298 §2.3: SRTT + 4 RTTVAR), and need not be noted.
_SHORT_S = LEAST_WAIT_S / 5
_MOST_BACKED_OFF_S = 4.0
# A client that has never answered may be somebody else's address written on a datagram: it gets no more than this.
UNHEARD_SENDS = 4
# One that has answered may be silent for so long (or for three of its own timeouts).
PATIENCE_S = 20.0
_MOST_REPEATS = 16

_pack = struct.Struct("!HH").pack


class Sender:
    """Sends `content` under `terms`. Times are seconds of any steady clock.

    What is to be sent comes as one `bytes`: datagrams back to back, each `datagram_size` long but for the last one;
    until the client is `heard`, one datagram of any size.
    Whoever calls does so again with `timed_out` when `deadline` has come, until `finished` or `given_up`.
    """

    __slots__ = (
        "_acked",
        "_answer",
        "_awaited",
        "_content",
        "_last",
        "_patience_s",
        "_repeats",
        "_rto",
        "_rto_most",
        "_sent",
        "_sent_at",
        "_size",
        "_srtt",
        "_tries",
        "_variation",
        "_wait_most",
        "_windowsize",
        "datagram_size",
        "deadline",
        "finished",
        "given_up",
        "heard",
        "progress_at",
        "resent",
    )

    def __init__(self, content: bytes, terms: Terms) -> None:
        self._content = content
        self._size = terms.blksize
        self._windowsize = terms.windowsize
        # A file that fills its last block ends with an empty one (RFC 1350 §6).
        self._last = len(content) // terms.blksize + 1
        self._answer = oack(terms.accepted) if terms.accepted else b""
        self._acked = 0
        self._sent = 0
        self._awaited = 0  # the block number that acknowledges all that was sent; the OACK is acknowledged as block 0
        self._sent_at = 0.0
        self._tries = 0  # sends of the same by the clock
        self._repeats = 0  # sends of the same because the client repeated itself
        self._srtt = -1.0
        self._variation = 0.0
        self._rto = _FIRST_WAIT_S
        self._rto_most = float(terms.timeout_s or MOST_WAIT_S)
        self._wait_most = float(terms.timeout_s or _MOST_BACKED_OFF_S)
        self._patience_s = max(PATIENCE_S, 3 * self._wait_most)
        self.datagram_size = terms.blksize + 4
        self.deadline = 0.0
        self.heard = False  # the client has acknowledged something
        self.progress_at = 0.0  # when it did so last, or when the transfer began
        self.finished = False
        self.given_up = False
        self.resent = 0  # how often something was sent again

    @property
    def acknowledged_bytes(self) -> int:
        """How much of the content the client has said that it has."""
        return min(self._acked * self._size, len(self._content))

    @property
    def at_the_end(self) -> bool:
        """All is sent and only the last ACK is missing."""
        return self._sent == self._last

    def start(self, now: float) -> bytes:
        """The answer to the RRQ: the OACK, or the first block."""
        self.progress_at = now
        return self._same(now) if self._answer else self._next(now)

    def asked_again(self, now: float) -> bytes:
        """What to send when the client repeats its RRQ."""
        return b"" if self.heard else self._repeated(now)

    def acknowledged(self, block: int, now: float) -> bytes:
        """What to send after an ACK with this 16-bit block number."""
        if block == self._awaited:
            self._acked = self._sent
        else:
            ahead = (block - self._acked) & 0xFFFF
            if ahead == 0:
                return self._repeated(now)
            if ahead > self._sent - self._acked:
                return b""  # an ACK from before: answering it would double every packet after it (RFC 1123 §4.2.3.1)
            # Within a window an ACK that stops short names a gap: go on right after it (RFC 7440 §4).
            self._acked += ahead
        self.heard = True
        self.progress_at = now
        if self._tries or self._repeats:
            # Which of the sends was answered is not known (Karn): the wait stays what it has become.
            self._rto = min(self._rto * 2.0**self._tries, self._rto_most)
            self._tries = self._repeats = 0
        elif self._rto > LEAST_WAIT_S or now - self._sent_at > _SHORT_S:
            self._measured(now - self._sent_at)
        if self._acked == self._last:
            self.finished = True
            return b""
        return self._next(now)

    def timed_out(self, now: float) -> bytes:
        """What to send when no ACK came until `deadline`; sets `given_up` when it has been tried enough."""
        self._tries += 1
        if (now - self.progress_at >= self._patience_s) if self.heard else (self._tries >= UNHEARD_SENDS):
            self.given_up = True
            return b""
        self.resent += 1
        return self._same(now)

    def _repeated(self, now: float) -> bytes:
        """The client says again what it had said: our answer was lost, if it did so because it got tired of waiting.

        An ACK doubled on the way comes much sooner, and must not make us send anything (RFC 1123 §4.2.3.1).
        """
        if now - self._sent_at < self._rto or self._repeats >= _MOST_REPEATS:
            return b""
        self._repeats += 1
        self.resent += 1
        return self._same(now)

    def _measured(self, round_trip: float) -> None:
        """RFC 6298 §2."""
        if self._srtt < 0:
            self._srtt, self._variation = round_trip, round_trip / 2
        else:
            self._variation += (abs(self._srtt - round_trip) - self._variation) / 4
            self._srtt += (round_trip - self._srtt) / 8
        self._rto = min(max(self._srtt + 4 * self._variation, LEAST_WAIT_S), self._rto_most)

    def _same(self, now: float) -> bytes:
        if self._answer and not self.heard:
            self._sent_at = now
            datagrams = self._answer
        else:
            datagrams = self._next(now)
        self.deadline = now + min(self._rto * 2.0**self._tries, self._wait_most)
        return datagrams

    def _next(self, now: float) -> bytes:
        self._sent_at = now
        self.deadline = now + self._rto
        acked, size = self._acked, self._size
        if self._windowsize == 1:
            self._sent = sent = acked + 1
            self._awaited = sent & 0xFFFF
            return _pack(DATA, self._awaited) + self._content[acked * size : sent * size]
        self._sent = min(acked + self._windowsize, self._last)
        self._awaited = self._sent & 0xFFFF
        pieces: list[bytes] = []
        for block in range(acked, self._sent):
            pieces += _pack(DATA, (block + 1) & 0xFFFF), self._content[block * size : (block + 1) * size]
        return b"".join(pieces)

"""The sending side of one TFTP transfer: packets and moments in, packets out; no socket and no clock."""

from __future__ import annotations

from pxe.tftp.packets import Terms, data, oack

# After this many sends without progress the client is gone: 1 + 2 + 4 + 4 + 4 + 4 s with the default timeout.
_TRIES = 6


class Sender:
    """Sends `content` under `terms`. Times are seconds of any steady clock."""

    def __init__(self, content: bytes, terms: Terms) -> None:
        self._content = memoryview(content)
        self._terms = terms
        # A file that fills its last block ends with an empty one (RFC 1350 §6).
        self._last = len(content) // terms.blksize + 1
        self._acked = 0
        self._sent = 0
        self._awaits_oack = bool(terms.accepted)
        self._sent_at = 0.0
        self._tries = 0
        self.finished = False
        self.given_up = False

    @property
    def patience_s(self) -> float:
        """How long to wait for the client's next ACK; it doubles twice, unless the client chose it (RFC 2349)."""
        if "timeout" in self._terms.accepted:
            return self._terms.timeout_s
        return float(self._terms.timeout_s * 2 ** min(self._tries, 2))

    def start(self, now: float) -> list[bytes]:
        """The answer to the RRQ: the OACK, or the first window."""
        return self._send(now)

    def acknowledged(self, block: int, now: float) -> list[bytes]:
        """What to send after an ACK with this 16-bit block number."""
        if self._awaits_oack:
            if block != 0:
                return []
            self._awaits_oack = False
            return self._progress(now)
        ahead = (block - self._acked) & 0xFFFF
        if ahead > self._sent - self._acked:
            return []  # an ACK from before: answering it would double every packet after it (RFC 1123 §4.2.3.1)
        if ahead == 0:
            # The client says again what it had said: its answer was lost, if it did so because it got tired of waiting.
            # An ACK doubled on the way comes much sooner, and must not make us send anything.
            return self._again(now) if now - self._sent_at >= self._terms.timeout_s / 2 else []
        # Within a window an ACK that stops short names a gap: go on right after it (RFC 7440 §4).
        self._acked += ahead
        if self._acked == self._last:
            self.finished = True
            return []
        return self._progress(now)

    def timed_out(self, now: float) -> list[bytes]:
        """What to send when no ACK came in time; sets `given_up` at the last try."""
        return self._again(now)

    def _progress(self, now: float) -> list[bytes]:
        self._tries = 0
        return self._send(now)

    def _again(self, now: float) -> list[bytes]:
        self._tries += 1
        if self._tries >= _TRIES:
            self.given_up = True
            return []
        return self._send(now)

    def _send(self, now: float) -> list[bytes]:
        self._sent_at = now
        if self._awaits_oack:
            return [oack(self._terms.accepted)]
        size = self._terms.blksize
        self._sent = min(self._acked + self._terms.windowsize, self._last)
        return [
            data(block, self._content[(block - 1) * size : block * size])
            for block in range(self._acked + 1, self._sent + 1)
        ]

"""Thousands of deadlines that move with every packet, for the price of one timer."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from pxe.tftp.transfer import Transfer

_GRAIN_S = 0.025
_TURN_S = 0.0005


class Deadlines:
    """Calls a transfer's `overdue` at most a grain after its deadline; a few at a time, so that none waits long.

    A deadline that moves away costs nothing: the transfer is looked at when the old one has come, and filed anew.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Transfer]] = {}
        self._next = 0
        self._due: deque[Transfer] = deque()
        self._timer: asyncio.Handle | None = None

    def file(self, transfer: Transfer) -> None:
        """Look at this transfer when its deadline has come."""
        slot = int(transfer.sender.deadline / _GRAIN_S) + 1
        transfer.filed = slot * _GRAIN_S
        self._slots.setdefault(slot, []).append(transfer)
        if self._timer is None:
            self._next = int(monotonic() / _GRAIN_S)
            self._timer = self._loop.call_later(_GRAIN_S, self._tick)

    def close(self) -> None:
        """Look at none any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        current = int(monotonic() / _GRAIN_S)
        for slot in range(self._next, current + 1):
            # One that was filed anew for an earlier moment is looked at there.
            self._due += [one for one in self._slots.pop(slot, ()) if one.filed == slot * _GRAIN_S]
        self._next = current + 1
        self._work()

    def _work(self) -> None:
        began = now = monotonic()
        while self._due and now - began < _TURN_S:
            transfer = self._due.popleft()
            if transfer.outcome is None:
                if transfer.sender.deadline <= now:
                    transfer.overdue(now)
                if transfer.outcome is None:
                    self.file(transfer)
            now = monotonic()
        if self._due:
            self._timer = self._loop.call_soon(self._work)
        elif self._slots:
            self._timer = self._loop.call_later(_GRAIN_S, self._tick)
        else:
            self._timer = None

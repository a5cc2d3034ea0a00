"""Sockets inside another network namespace, without moving the whole process there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def in_namespace(namespace: Path, make: Callable[[], T]) -> T:
    """Call `make` with the thread inside `namespace` (as /run/netns/NAME).

    A socket belongs for life to the namespace that it was made in, so only its making needs this. Raises OSError
    where the namespace is not there or we may not enter it, and what `make` raises.
    """
    # A thread of its own, ended right after: no other work may ever run in the foreign namespace.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_enter_and_call, namespace, make).result()


def _enter_and_call(namespace: Path, make: Callable[[], T]) -> T:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(fd)
    return make()

"""Connections out of a private network namespace, into the one that the process has left.

A socket belongs to the namespace of the thread that makes it, at that moment, whoever uses it afterwards.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from service.lab.netns import NetworkError

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_NAMESPACE = "/proc/thread-self/ns/net"


class Outside:
    """The network namespace that this thread is in when this is made; to be made before it is left."""

    def __init__(self) -> None:
        self._namespace = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)

    def connector(self) -> aiohttp.BaseConnector:
        """For a client whose connections, and whose look-ups of names, are to be out there."""
        return aiohttp.TCPConnector(socket_factory=self._socket, resolver=_Resolver(self))

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        with self._entered():
            made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    @contextmanager
    def _entered(self) -> Iterator[None]:
        home = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            try:
                yield
            finally:
                _set(home)
        finally:
            os.close(home)

    def enter(self) -> None:
        """Move the present thread there. Raises NetworkError."""
        _set(self._namespace)


class _Resolver(AbstractResolver):
    """Looks names up in a thread of its own that stays outside."""

    def __init__(self, outside: Outside) -> None:
        self._threads = ThreadPoolExecutor(1, "outside", initializer=outside.enter)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False)


def _set(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise NetworkError(f"cannot change the network namespace: {os.strerror(ctypes.get_errno())}")

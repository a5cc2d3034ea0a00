"""One SSH connection to a leaf's NETCONF server: ncclient, blocking, for one thread at a time."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from tempfile import NamedTemporaryFile
from typing import Any

import ncclient.transport.session
from lxml import etree
from ncclient.devices.default import DefaultDeviceHandler
from ncclient.operations import Dispatch, RaiseMode
from ncclient.transport import SSHSession
from ncclient.transport.errors import SessionCloseError, TransportError
from ncclient.transport.session import NetconfBase

from netconf.framing import Framing, framed
from netconf.owned import NETCONF
from netconf.render import Element

# ncclient's thread looks for something to send each TICK seconds. Ours sends at once, so it need not look at all.
ncclient.transport.session.TICK = 60.0
# At INFO it writes whole calls, secrets included; and what it has to say of a failure is in the exception, too.
logging.getLogger("ncclient").setLevel(logging.CRITICAL)

_OPEN_S = 15.0  # for each of the steps: TCP, the SSH banner, the hello
_GONE_S = 0.2  # how soon a call notices that its session has ended
_READ_BYTES = 1 << 20
_BASE = "urn:ietf:params:netconf:base:"


class Database(StrEnum):
    """The configuration database of a leaf that our changes go through."""

    CANDIDATE = "candidate"  # the shared one, under its lock
    PRIVATE = "private"  # a copy of our own
    EPHEMERAL = "ephemeral"  # an instance of our own, beside what is configured


@dataclass(frozen=True, slots=True)
class LeafAddress:
    """Where a leaf's NETCONF is, who we are there, and the host key that it must show (OpenSSH form).

    With a `private_key` (its file's text, without a passphrase) the password is not used. `namespaces` are those of
    `configuration` and of the statements in it, by their tags; what is not among them has `configuration`'s. Junos
    itself wants none, for all that its published models have one for each.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    host_key: str
    namespaces: Mapping[str, str] = field(default_factory=dict, hash=False)
    private_key: str = field(default="", repr=False)
    database: Database = Database.CANDIDATE


class Ended(ConnectionError):
    """There is no session, or no more."""

    def __init__(self, cause: Exception | str) -> None:
        # What ncclient says of a session that closed has in it what was read last: configuration, with its secrets.
        closed = isinstance(cause, SessionCloseError)
        super().__init__("the session was closed" if closed else str(cause) or type(cause).__name__)


class _Reader:
    """In place of ncclient's parsers, for which a character that a chunk or a read cuts in two is broken."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._framing = Framing()

    def parse(self, data: bytes) -> None:
        self._framing.feed(data)
        while True:
            self._framing.chunked = self._session._base == NetconfBase.BASE_11
            message = self._framing.next_message()
            if message is None:
                return
            self._session._dispatch_message(message.decode())


class _Handler(DefaultDeviceHandler):  # type: ignore[misc]
    def get_xml_parser(self, session: Any) -> _Reader:
        return _Reader(session)


class _Session(SSHSession):  # type: ignore[misc]
    """ncclient's session, whose calls are on the wire when `send` returns, and which reads as much as there is."""

    def send(self, message: str) -> None:
        if not self.connected:
            raise TransportError("the session has ended")
        # Chunks once both have said hello with 1.1, the end mark before that.
        self._channel.sendall(framed(message.encode(), chunked=self._base == NetconfBase.BASE_11))

    def _transport_read(self) -> Any:
        return self._channel.recv(_READ_BYTES)


class Connection:
    """A connection and its NETCONF session. `abort` may be called by any thread, all else by one at a time."""

    def __init__(self, address: LeafAddress) -> None:
        self._address = address
        self._handler = _Handler({"name": "default"})
        self._session = _Session(self._handler)
        self._socket: socket.socket | None = None
        self._aborted = threading.Event()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the leaf offers."""
        return tuple(self._session.server_capabilities)

    @property
    def session_id(self) -> str:
        """The leaf's number for the session."""
        return str(self._session.id)

    @property
    def alive(self) -> bool:
        """False once the session has ended, as far as that was noticed."""
        return bool(self._session.is_alive()) and not self._aborted.is_set()

    def open(self) -> None:
        """Connect and say hello. Raises Ended, with the reason, and leaves nothing behind then."""
        address = self._address
        try:
            self._socket = socket.create_connection((address.host, address.port), timeout=_OPEN_S)
            # Calls are small and each one waits for its answer.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._aborted.is_set():
                raise ConnectionAbortedError("given up while connecting")
            with _key_file(address.private_key) as key_file:
                self._session.connect(
                    host=address.host,
                    port=address.port,
                    sock=self._socket,
                    username=address.username,
                    # Beside a key it would be taken for the key's passphrase.
                    password=None if key_file else address.password,
                    key_filename=key_file,
                    hostkey_b64=address.host_key.split()[1],
                    allow_agent=False,
                    look_for_keys=False,
                    timeout=_OPEN_S,
                    keepalive=10,
                )
            if not any(capability.startswith(_BASE) for capability in self.capabilities):
                raise ConnectionError("its hello offers no NETCONF")
            # A peer that reads no more must not hold the thread for ever.
            self._session._channel.settimeout(_OPEN_S)
        except Exception as err:
            self.close()
            raise Ended(err) from err

    def call(self, operations: Sequence[Element], timeout_s: float) -> list[str]:
        """Send operations, all of them before the first answer; their `<rpc-reply>`s as text.

        Raises TimeoutError when an answer did not come in time, Ended when the session has ended: also when it ended
        just as an operation was sent, which ncclient does not notice.
        """
        sent = []
        until = time.monotonic() + timeout_s
        for operation in operations:
            rpc = Dispatch(self._session, self._handler, async_mode=True, raise_mode=RaiseMode.NONE)
            try:
                rpc.request(operation)
            except Exception as err:  # ncclient and paramiko have many words for it
                raise Ended(err) from err
            sent.append(rpc)
        return [self._answer(rpc, until) for rpc in sent]

    def _answer(self, rpc: Any, until: float) -> str:
        while not rpc.event.wait(min(_GONE_S, max(0.0, until - time.monotonic()))):
            if not self.alive and not rpc.event.is_set():
                raise Ended("the session ended before the answer")
            if time.monotonic() >= until:
                raise TimeoutError
        if rpc.error is not None:
            raise Ended(rpc.error) from rpc.error
        return str(rpc.reply.xml)

    def abort(self) -> None:
        """End the connection at once; whoever waits in `open` or `call` fails. Does not block."""
        self._aborted.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the session in order if the leaf answers, and the connection and its threads in any case."""
        if self.alive:
            with suppress(Ended, TimeoutError):
                self.call([etree.Element(f"{{{NETCONF}}}close-session", nsmap={None: NETCONF})], 2.0)  # type: ignore[dict-item]
        if self._session.transport is not None:
            # Else paramiko's timer for the handshake, a thread, lives on until its time has come.
            self._session.transport.packetizer.complete_handshake()
            self._session.close()
        if self._socket is not None:
            self._socket.close()


@contextmanager
def _key_file(private_key: str) -> Iterator[str | None]:
    """The key as a file that only we can read, while the block runs: ncclient takes keys by their path only.

    Where the system has files in memory it is one of them, of which a process that is killed leaves nothing behind.
    """
    if not private_key:
        yield None
    elif hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("leaf-key"), "w") as file:  # closed in the programs that we start
            file.write(private_key)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with NamedTemporaryFile("w", prefix="leaf-key-") as file:  # made with mode 0600
            file.write(private_key)
            file.flush()
            yield file.name

"""One NETCONF session to one leaf: ncclient in a thread of its own, behind asyncio (junos.md §1).

ncclient blocks, so each leaf has its own thread: a slow commit holds up nobody else. Its reply parser can take an
error for success, so replies are read here, by their own words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

import ncclient.transport.session
from lxml import etree
from ncclient import manager
from ncclient.operations import RaiseMode, TimeoutExpiredError
from ncclient.transport.errors import AuthenticationError, SSHError, TransportError

from netconf.errors import LockedByOther, OutcomeUnknown, Refused, Unreachable
from netconf.owned import NETCONF, tag_of
from netconf.render import Element

T = TypeVar("T")

# A send does not wake ncclient's session thread; it looks each TICK seconds, so that is the floor of every call.
ncclient.transport.session.TICK = 0.005
# At INFO it writes whole calls, secrets included.
logging.getLogger("ncclient").setLevel(logging.WARNING)

_CONNECT_S = 30.0  # paramiko's banner timeout is not covered by ncclient's own
_READ_S = 15
_COMMIT_S = 180  # 60 s and more were seen on loaded switches
_DEFAULT: Any = {None: NETCONF}
_PERSIST = "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
_VALIDATE = "urn:ietf:params:netconf:capability:validate:"
# What Junos wraps its answers to a load or a commit in, one for each routing engine.
_ENVELOPES = {
    "commit-results",
    "load-configuration-results",
    "multi-routing-engine-item",
    "multi-routing-engine-results",
    "routing-engine",
}


@dataclass(frozen=True, slots=True)
class LeafAddress:
    """Where a leaf's NETCONF is, who we are there, and the host key that it must show (OpenSSH form).

    With a `private_key` (its file's text, without a passphrase) the password is not used. `namespace` is that of the
    configuration's top level; Junos wants none.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    host_key: str
    namespace: str = ""
    private_key: str = field(default="", repr=False)


def _statements(reply: Element) -> Iterator[Element]:
    """What the leaf itself says in a reply, and none of the configuration in it, whose statements may have any name."""
    for element in reply:
        if isinstance(element.tag, str):
            yield element
            if tag_of(element) in _ENVELOPES:
                yield from _statements(element)


def _errors(reply: Element) -> list[Element]:
    """Every error in a reply, in Junos' envelopes too; warnings are none (RFC 6241 §4.3, Junos' own forms)."""
    found = []
    for element in _statements(reply):
        match tag_of(element):
            case "rpc-error" | "error":
                severity = next((child.text for child in element if tag_of(child) == "error-severity"), "error")
                if (severity or "").strip() != "warning":
                    found.append(element)
            case "load-error-count":
                found.append(element)
    return found


def _words(error: Element, tag: str) -> str:
    return next(("".join(map(str, child.itertext())).strip() for child in error if tag_of(child) == tag), "")


def _reason(error: Element) -> str:
    return _words(error, "error-message") or _words(error, "error-tag") or "error"


def _raise_for(reply: Element, *, must_say_ok: bool) -> None:
    """Raises Refused or LockedByOther for a reply that is no plain success."""
    errors = _errors(reply)
    if errors:
        first = errors[0]
        said = tuple((_reason(error), _words(error, "error-path")) for error in errors)
        reason = "; ".join(message for message, _ in said)
        if _words(first, "error-tag") in ("lock-denied", "in-use") or "locked by" in reason.lower():
            holder = next((one.text for one in first.iter(f"{{{NETCONF}}}session-id")), None)
            raise LockedByOther(f"session {holder}: {reason}" if holder else reason)
        raise Refused(reason, said[0][1], said)
    tags = {tag_of(element) for element in _statements(reply)}
    if must_say_ok and not tags & {"ok", "commit-success", "load-success"}:
        raise Refused(f"the leaf said neither yes nor no: {sorted(tags)}")


class LeafSession:
    """An open session. Calls are taken one after the other."""

    def __init__(self, address: LeafAddress, thread: ThreadPoolExecutor, connection: Any) -> None:
        self.address = address
        self._thread = thread
        self._connection = connection
        # Whether a trial commit may be pending that nobody is going to confirm, a former session's or one of ours
        # that went wrong. The next transaction ends it before it believes what is running.
        self.unsettled = True

    @property
    def persists(self) -> bool:
        """Whether a confirmed commit outlives its session (confirmed-commit 1.1)."""
        return _PERSIST in self._connection.server_capabilities

    @property
    def validates(self) -> bool:
        """Whether the peer offers to validate."""
        return any(capability.startswith(_VALIDATE) for capability in self._connection.server_capabilities)

    @property
    def session_id(self) -> str:
        """The peer's number for this session."""
        return str(self._connection.session_id)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        # Cancelling the caller does not stop the thread; the shield lets the call end and be thrown away.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, call))

    async def rpc(self, operation: Element, *, timeout_s: int = _READ_S, must_say_ok: bool = True) -> Element:
        """Send an operation and return its `<rpc-reply>`.

        Raises Refused or LockedByOther for a no, OutcomeUnknown when no answer came in time, Unreachable when the
        session is gone.
        """

        def call() -> str:
            self._connection.timeout = timeout_s
            return str(self._connection.dispatch(operation).xml)

        try:
            text = await self._in_thread(call)
        except TimeoutExpiredError:
            raise OutcomeUnknown(f"no answer to {tag_of(operation)} within {timeout_s} s") from None
        except (TransportError, OSError, EOFError) as err:
            raise Unreachable(f"{tag_of(operation)}: {err or type(err).__name__}") from err
        reply = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, huge_tree=True))
        _raise_for(reply, must_say_ok=must_say_ok)
        return reply

    async def get_config(self, source: str) -> Element:
        """The whole configuration of a datastore, as `<configuration>`."""
        operation = _operation("get-config")
        _sub(_sub(operation, "source"), source)
        reply = await self.rpc(operation, timeout_s=60, must_say_ok=False)
        found = next((one for one in reply.iter() if isinstance(one.tag, str) and tag_of(one) == "configuration"), None)
        return etree.Element("configuration") if found is None else found

    async def lock(self) -> None:
        """Lock the candidate. Raises LockedByOther when somebody holds it or has left uncommitted changes in it."""
        operation = _operation("lock")
        _sub(_sub(operation, "target"), "candidate")
        try:
            await self.rpc(operation)
        except Refused as err:
            # Each server has its own tag for a dirty candidate, and Junos none: whatever it says, our change had no
            # part in it and must not be blamed for it.
            raise LockedByOther(err.reason) from err

    async def unlock(self) -> None:
        """Unlock the candidate."""
        operation = _operation("unlock")
        _sub(_sub(operation, "target"), "candidate")
        await self.rpc(operation)

    async def discard_changes(self) -> None:
        """Make the candidate what is running."""
        await self.rpc(_operation("discard-changes"))

    async def edit_candidate(self, configuration: Element) -> None:
        """Change the candidate by a `<configuration>` with operations in it."""
        operation = _operation("edit-config")
        _sub(_sub(operation, "target"), "candidate")
        _sub(operation, "default-operation").text = "merge"
        _sub(operation, "config").append(_in_namespace(configuration, self.address.namespace))
        await self.rpc(operation, timeout_s=60)

    async def validate(self) -> None:
        """Have the candidate validated."""
        operation = _operation("validate")
        _sub(_sub(operation, "source"), "candidate")
        await self.rpc(operation, timeout_s=_COMMIT_S)

    async def commit_confirmed(self, timeout_s: int, persist: str | None) -> None:
        """Commit; the leaf takes it back by itself when it is not confirmed within `timeout_s`."""
        operation = _operation("commit")
        _sub(operation, "confirmed")
        _sub(operation, "confirm-timeout").text = str(timeout_s)
        if persist is not None:
            _sub(operation, "persist").text = persist
        self.unsettled = True  # whatever is answered, if anything
        await self.rpc(operation, timeout_s=_COMMIT_S)

    async def confirm(self, persist: str | None) -> None:
        """Confirm the commit that is pending."""
        operation = _operation("commit")
        if persist is not None:
            _sub(operation, "persist-id").text = persist
        await self.rpc(operation, timeout_s=_COMMIT_S)
        self.unsettled = False

    async def cancel_commit(self, persist: str) -> None:
        """Take the pending commit back at once (confirmed-commit 1.1)."""
        operation = _operation("cancel-commit")
        _sub(operation, "persist-id").text = persist
        await self.rpc(operation, timeout_s=_COMMIT_S)
        self.unsettled = False


def _operation(tag: str) -> Element:
    return etree.Element(f"{{{NETCONF}}}{tag}", nsmap=_DEFAULT)


def _sub(parent: Element, tag: str) -> Element:
    return etree.SubElement(parent, f"{{{NETCONF}}}{tag}")


def _in_namespace(element: Element, namespace: str) -> Element:
    """A copy whose elements are in `namespace`; without one, in none (Junos)."""
    tag = f"{{{namespace}}}{tag_of(element)}" if namespace else tag_of(element)
    made = etree.Element(tag, {str(name): str(value) for name, value in element.attrib.items()}, nsmap={"nc": NETCONF})
    made.text = element.text
    made.extend(_in_namespace(child, namespace) for child in element)
    return made


@contextmanager
def _key_file(private_key: str) -> Iterator[str | None]:
    """The key as a file that only we can read, while the block runs: ncclient takes keys by their path only."""
    if not private_key:
        yield None
        return
    with NamedTemporaryFile("w", prefix="leaf-key-") as file:  # made with mode 0600
        file.write(private_key)
        file.flush()
        yield file.name


def _connect(address: LeafAddress) -> Any:
    with _key_file(address.private_key) as key_file:
        connection = manager.connect(
            host=address.host,
            port=address.port,
            username=address.username,
            # Beside a key it would be taken for the key's passphrase.
            password=None if key_file else address.password,
            key_filename=key_file,
            hostkey_b64=address.host_key.split()[1],
            allow_agent=False,
            look_for_keys=False,
            timeout=_READ_S,
            keepalive=10,
            device_params={"name": "default"},
        )
    connection.raise_mode = RaiseMode.NONE
    return connection


def _close(connection: Any) -> None:
    # `close_session` leaves threads and the socket behind when the peer is frozen; the transport is closed anyway.
    try:
        if connection.connected:
            connection.timeout = 2
            connection.close_session()
    except Exception:
        logging.getLogger(__name__).debug("session was not closed in order", exc_info=True)
    finally:
        transport = getattr(connection._session, "_transport", None)
        if transport is not None:
            transport.close()


@asynccontextmanager
async def open_session(address: LeafAddress) -> AsyncIterator[LeafSession]:
    """A session while the block runs. Raises Unreachable, with the reason."""
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"netconf-{address.host}-{address.port}")
    loop = asyncio.get_running_loop()
    connecting = loop.run_in_executor(thread, _connect, address)
    try:
        connection = await asyncio.wait_for(asyncio.shield(connecting), _CONNECT_S)
    except TimeoutError:
        connecting.add_done_callback(_drop)
        thread.shutdown(wait=False)
        raise Unreachable(f"{address.host}:{address.port} did not answer within {_CONNECT_S:g} s") from None
    except (AuthenticationError, SSHError, TransportError, OSError) as err:
        thread.shutdown(wait=False)
        raise Unreachable(f"{address.host}:{address.port}: {err or type(err).__name__}") from err
    except asyncio.CancelledError:
        connecting.add_done_callback(_drop)
        thread.shutdown(wait=False)
        raise
    try:
        yield LeafSession(address, thread, connection)
    finally:
        closing = loop.run_in_executor(None, _close, connection)
        await asyncio.shield(closing)
        thread.shutdown(wait=False)


def _drop(connecting: asyncio.Future[Any]) -> None:
    """Close a connection that came up after nobody wanted it any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        _close(connecting.result())

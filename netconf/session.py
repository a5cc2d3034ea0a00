"""NETCONF sessions to one leaf: blocking ncclient in a thread of the leaf's own, behind asyncio.

Each leaf has its own thread, so a leaf that is slow or silent holds up nobody else.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from lxml import etree

from netconf.connection import Connection, Database, Ended, LeafAddress
from netconf.counters import PortCounters, counters_in
from netconf.errors import LockedByOther, OutcomeUnknown, Refused, Unreachable
from netconf.lldp import LldpNeighbor, neighbors_in
from netconf.owned import NETCONF, tag_of
from netconf.render import Element
from netconf.replies import raise_for, refusal_in

__all__ = ["Database", "LeafAddress", "LeafSession", "open_session"]

T = TypeVar("T")

_CONNECT_S = 30.0  # all steps of it
_READ_S = 15.0
_LONG_READ_S = 60.0  # for what carries a configuration
_COMMIT_S = 180.0  # 60 s and more were seen on loaded switches
_DEFAULT: Any = {None: NETCONF}
_PERSIST = "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
_VALIDATE = "urn:ietf:params:netconf:capability:validate:"
_JUNOS = "http://xml.juniper.net/netconf/junos"
_MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"


class LeafSession:
    """An open session. Calls are taken one after the other.

    A session that left a call without an answer is ended: what the leaf made of the call is not known, and its lock
    must not outlive us.
    """

    def __init__(self, address: LeafAddress, thread: ThreadPoolExecutor, connection: Connection) -> None:
        self.address = address
        self._thread = thread
        self._connection = connection
        self._witness: LeafSession | None = None
        # Whether a trial commit may be pending that nobody is going to confirm, a former session's or one of ours
        # that went wrong. The next transaction ends it before it believes what is running.
        self.unsettled = True

    @property
    def alive(self) -> bool:
        """False once the session has ended, as far as that was noticed."""
        return self._connection.alive

    @property
    def persists(self) -> bool:
        """Whether a confirmed commit outlives its session (confirmed-commit 1.1)."""
        return _PERSIST in self._connection.capabilities

    @property
    def validates(self) -> bool:
        """Whether the peer offers to validate."""
        return any(capability.startswith(_VALIDATE) for capability in self._connection.capabilities)

    @property
    def junos(self) -> bool:
        """Whether the peer has Junos' own calls."""
        return any(capability.startswith(_JUNOS) for capability in self._connection.capabilities)

    @property
    def session_id(self) -> str:
        """The peer's number for this session, by which another one can end it; on Junos that of its process.

        To be kept where it outlives this process: `apply` ends what such a session has left behind, and no other.
        """
        return self._connection.session_id

    async def witness(self) -> LeafSession:
        """Another session to the same leaf, which stands as long as this one; opened anew when it has ended.

        Raises Unreachable.
        """
        if self._witness is None or not self._witness.alive:
            await self._drop_witness()
            self._witness = LeafSession(self.address, self._thread, await _connected(self.address, self._thread))
        return self._witness

    async def greeted(self) -> None:
        """See that the leaf takes a new connection, and speaks first as an SSH server does (RFC 4253 §4.2).

        Raises Unreachable.
        """
        where = f"{self.address.host}:{self.address.port}"
        try:
            async with asyncio.timeout(_READ_S):
                reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
                try:
                    await reader.readuntil(b"SSH-")
                finally:
                    writer.close()
        except (OSError, EOFError, asyncio.LimitOverrunError) as err:
            raise Unreachable(f"{where} takes no new connection: {str(err) or type(err).__name__}") from err

    async def close(self) -> None:
        """End the session, and the witness with it."""
        await self._drop_witness()
        await _in_thread(self._thread, self._connection.close)

    async def _drop_witness(self) -> None:
        witness, self._witness = self._witness, None
        if witness is not None:
            await witness.close()

    async def rpc(self, operation: Element, *, timeout_s: float | None = None, must_say_ok: bool = True) -> Element:
        """Send an operation and return its `<rpc-reply>`.

        Raises Refused or LockedByOther for a no, OutcomeUnknown when no answer came in time, Unreachable when the
        session is gone. Cancelled, it ends the session.
        """
        (reply,) = await self._replies([operation], timeout_s or _READ_S)
        raise_for(reply, must_say_ok=must_say_ok)
        return reply

    async def ask(self, operations: Sequence[Element], *, timeout_s: float | None = None) -> list[Element | Refused]:
        """Send operations that change nothing, one behind the other without waiting; their replies, refusals too.

        Raises what `rpc` raises otherwise.
        """
        replies = await self._replies(operations, timeout_s or _READ_S)
        return [refusal_in(reply) or reply for reply in replies]

    async def _replies(self, operations: Sequence[Element], limit_s: float) -> list[Element]:
        said = tag_of(operations[0])
        try:
            texts = await _in_thread(self._thread, lambda: self._connection.call(operations, limit_s))
        except TimeoutError:
            self._connection.abort()
            raise OutcomeUnknown(f"no answer to {said} within {limit_s:g} s") from None
        except Ended as err:
            self._connection.abort()
            raise Unreachable(f"{said}: {err}") from err
        except asyncio.CancelledError:
            self._connection.abort()
            raise
        parser = etree.XMLParser(resolve_entities=False, huge_tree=True)
        try:
            return [etree.fromstring(text.encode(), parser) for text in texts]
        except etree.XMLSyntaxError:
            # What it says of the answer could have some of it in its words.
            self._connection.abort()
            raise OutcomeUnknown(f"the answer to {said} is no XML") from None

    async def get_config(self, source: str, *, timeout_s: float | None = None) -> Element:
        """The whole configuration of a datastore, as `<configuration>`."""
        operation = _operation("get-config")
        _sub(_sub(operation, "source"), source)
        return configuration_in(await self.rpc(operation, timeout_s=timeout_s or _LONG_READ_S, must_say_ok=False))

    async def sessions(self) -> dict[str, str]:
        """The peer's NETCONF sessions with their logins, where it offers to tell (RFC 6022); else nothing."""
        if not any(capability.startswith(_MONITORING) for capability in self._connection.capabilities):
            return {}
        operation = _operation("get")
        wanted = _sub(operation, "filter")
        wanted.set("type", "subtree")
        state = etree.SubElement(wanted, f"{{{_MONITORING}}}netconf-state", nsmap={None: _MONITORING})  # type: ignore[dict-item]
        etree.SubElement(state, f"{{{_MONITORING}}}sessions")
        reply = await self.rpc(operation, must_say_ok=False)
        found = {}
        for one in reply.iter(f"{{{_MONITORING}}}session"):
            said = {tag_of(child): (child.text or "").strip() for child in one if isinstance(child.tag, str)}
            found[said.get("session-id", "")] = said.get("username", "")
        return found

    async def kill_session(self, session_id: str) -> None:
        """End another session, with its lock and, on Junos, its trial commit. Raises Refused without the permission."""
        operation = _operation("kill-session")
        _sub(operation, "session-id").text = session_id
        await self.rpc(operation)

    def abandon(self) -> None:
        """End the connection at once, and with it the lock and whatever else ends with a session. Does not block."""
        self._connection.abort()

    async def lldp_neighbors(self) -> tuple[LldpNeighbor, ...]:
        """What the leaf's ports see at the other end of their cables. Takes no lock; raises what `rpc` raises."""
        return neighbors_in(await self.rpc(_operation("get-lldp-neighbors-information"), must_say_ok=False))

    async def port_counters(self) -> tuple[PortCounters, ...]:
        """How many octets the leaf's ports have counted. Takes no lock; raises what `rpc` raises."""
        operation = _operation("get-interface-information")
        _sub(operation, "detail")
        return counters_in(await self.rpc(operation, must_say_ok=False))

    async def lock(self, target: str = "candidate") -> None:
        """Lock a datastore. Raises LockedByOther when somebody holds it or has left uncommitted changes in it."""
        operation = _operation("lock")
        _sub(_sub(operation, "target"), target)
        try:
            await self.rpc(operation)
        except Refused as err:
            # Each server has its own tag for a dirty candidate, and Junos none: whatever it says, our change had no
            # part in it and must not be blamed for it.
            raise LockedByOther(err.reason) from err

    async def unlock(self, target: str = "candidate") -> None:
        """Unlock a datastore."""
        operation = _operation("unlock")
        _sub(_sub(operation, "target"), target)
        await self.rpc(operation)

    async def discard_changes(self) -> None:
        """Make the candidate what is running."""
        await self.rpc(_operation("discard-changes"))

    async def edit_candidate(self, configuration: Element) -> None:
        """Change the candidate by a `<configuration>` with operations in it."""
        operation = _operation("edit-config")
        _sub(_sub(operation, "target"), "candidate")
        _sub(operation, "default-operation").text = "merge"
        _sub(operation, "config").append(_in_namespaces(configuration, self.address.namespaces))
        await self.rpc(operation, timeout_s=_LONG_READ_S)

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
        """Take the pending commit back at once (confirmed-commit 1.1). Raises Refused, too, when none is pending."""
        operation = _operation("cancel-commit")
        _sub(operation, "persist-id").text = persist
        await self.rpc(operation, timeout_s=_COMMIT_S)
        self.unsettled = False


def configuration_in(reply: Element) -> Element:
    """The `<configuration>` in a reply, an empty one if there is none."""
    found = next((one for one in reply.iter() if isinstance(one.tag, str) and tag_of(one) == "configuration"), None)
    return etree.Element("configuration") if found is None else found


def _operation(tag: str) -> Element:
    return etree.Element(f"{{{NETCONF}}}{tag}", nsmap=_DEFAULT)


def _sub(parent: Element, tag: str) -> Element:
    return etree.SubElement(parent, f"{{{NETCONF}}}{tag}")


def _in_namespaces(configuration: Element, namespaces: Mapping[str, str]) -> Element:
    """A copy whose statements are in the namespaces that the leaf wants; without any, as it is, in none (Junos)."""
    if not namespaces:
        return copy.deepcopy(configuration)
    top = namespaces[tag_of(configuration)]
    made = etree.Element(f"{{{top}}}{tag_of(configuration)}", nsmap={"nc": NETCONF})
    made.extend(_in_namespace(child, namespaces.get(tag_of(child), top)) for child in configuration)
    return made


def _in_namespace(element: Element, namespace: str) -> Element:
    tag = f"{{{namespace}}}{tag_of(element)}"
    made = etree.Element(tag, {str(name): str(value) for name, value in element.attrib.items()}, nsmap={"nc": NETCONF})
    made.text = element.text
    made.extend(_in_namespace(child, namespace) for child in element)
    return made


async def _in_thread(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    # Cancelling the caller does not stop the thread: the shield lets the call end, and its outcome be thrown away.
    running = asyncio.get_running_loop().run_in_executor(thread, call)
    running.add_done_callback(_heard)
    return await asyncio.shield(running)


def _heard(done: asyncio.Future[T]) -> None:
    """An outcome that nobody waits for any more is no error of the program's."""
    if not done.cancelled():
        done.exception()


async def _connected(address: LeafAddress, thread: ThreadPoolExecutor) -> Connection:
    where = f"{address.host}:{address.port}"
    connection = Connection(address)
    try:
        async with asyncio.timeout(_CONNECT_S):
            await _in_thread(thread, connection.open)
    except Ended as err:
        raise Unreachable(f"{where}: {err}") from err
    except BaseException as err:
        connection.abort()
        if isinstance(err, TimeoutError):
            raise Unreachable(f"{where} did not answer within {_CONNECT_S:g} s") from None
        raise
    return connection


@asynccontextmanager
async def open_session(address: LeafAddress) -> AsyncIterator[LeafSession]:
    """A session while the block runs. Raises Unreachable, with the reason."""
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"netconf-{address.host}-{address.port}")
    try:
        session = LeafSession(address, thread, await _connected(address, thread))
        try:
            yield session
        finally:
            await asyncio.shield(session.close())
    finally:
        thread.shutdown(wait=False)

"""One NETCONF session of the virtual leaf (RFC 6241, RFC 6242): its wire, and the faults that strike there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import asyncssh
import structlog
from lxml import etree

from netconf.framing import BadFrame, Framing, framed
from netconf.owned import tag_of
from netconf.render import Element
from service.lab.leaf.calls import CALLS
from service.lab.leaf.datastore import EditError
from service.lab.leaf.elements import ok
from service.lab.leaf.faults import Fault, point_of
from service.lab.leaf.message import error, hello, operation_of, parsed, reply
from service.lab.leaf.workspaces import Shared, Workspace

if TYPE_CHECKING:
    from service.lab.leaf.server import VirtualLeaf

log = structlog.get_logger()

BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
_WARNINGS = 200  # in a flood


class _Dropped(Exception):
    """The session ends here, without an answer."""


class NetconfSession:
    """Reads calls, answers them one after the other, and cleans up behind itself."""

    def __init__(self, leaf: VirtualLeaf, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.leaf = leaf
        self.number = next(leaf.numbers)
        self.workspace: Workspace = Shared(leaf, self.number)  # what its edits and commits are about
        self.since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.killed = False
        self._process = process
        self._framing = Framing()
        self._greeted = False

    def drop(self) -> None:
        """Cut the connection."""
        self._process.channel.get_connection().abort()

    async def run(self) -> None:
        """Serve until the peer goes."""
        leaf = self.leaf
        if self._process.subsystem != "netconf":
            self._process.exit(1)
            return
        leaf.sessions[self.number] = self
        try:
            self._send(hello(leaf.capabilities, self.number))
            while await self._serve_next():
                pass
        except (_Dropped, BadFrame, asyncssh.Error, BrokenPipeError, ConnectionError):
            self.drop()
        except Exception:
            log.exception("leaf_session_failed", leaf=leaf.name)
            self.drop()
        finally:
            leaf.sessions.pop(self.number, None)
            self.workspace.close()
            leaf.session_ended(self.number, killed=self.killed)
            self._process.exit(0)

    def _send(self, message: bytes) -> None:
        self._process.stdout.write(framed(message, chunked=self._framing.chunked))

    async def _serve_next(self) -> bool:
        while (message := self._framing.next_message()) is None:
            data = await self._process.stdin.read(65536)
            await self.leaf.reachable.wait()
            if not data:
                return False
            self._framing.feed(data)
        call = None
        try:
            call = parsed(message)
            if tag_of(call) == "hello" and not self._greeted:
                self._take_hello(call)
                return True
            operation = operation_of(call)
        except EditError as err:
            self._send(reply(call, [error(err)]))
            return True
        return await self._answer(call, operation)

    def _take_hello(self, said: Element) -> None:
        self._greeted = True
        if any(tag_of(one) == "session-id" for one in said):
            raise _Dropped  # RFC 6241 §8.1: only a server gives one
        both = any((one.text or "").strip() == BASE_1_1 for one in said.iter()) and BASE_1_1 in self.leaf.capabilities
        self._framing.chunked = both

    async def _answer(self, call: Element, operation: Element) -> bool:
        leaf, name = self.leaf, tag_of(operation)
        leaf.calls[name] += 1
        fault = leaf.faults.next.pop(point_of(operation, on_trial=leaf.trial is not None), None)
        await self._strike_before(fault)
        parts: list[Element] = []
        if fault is Fault.WARNINGS:
            warning = EditError("operation-failed", "statement has no contents; ignored")
            parts += [error(warning, "warning") for _ in range(_WARNINGS)]
        try:
            if fault in (Fault.REFUSE, Fault.ERROR_BESIDE_OK):
                raise EditError("operation-failed", f"mgd: {name} failed")
            if name not in CALLS:
                raise EditError("operation-not-supported", f"unknown operation {name}", bad_element=name)
            parts += await CALLS[name](self, operation)
        except EditError as err:
            parts += [error(one) for one in (err, *err.others)]
            if fault is Fault.ERROR_BESIDE_OK:
                results = etree.Element("commit-results")
                results.extend(parts)
                parts = [results, ok()]
        await leaf.reachable.wait()
        await self._strike_after(fault, reply(call, parts))
        if leaf.trial is not None and leaf.faults.black_hole and name in ("commit", "commit-configuration"):
            await self._process.stdout.drain()
            leaf.reachable.clear()
        return name != "close-session"

    async def _strike_before(self, fault: Fault | None) -> None:
        if self.leaf.faults.hang or fault is Fault.HANG:
            await self._say_no_more()
        if fault is Fault.REBOOT_BEFORE:
            self.leaf.reboot()
        if fault in (Fault.DROP_BEFORE, Fault.REBOOT_BEFORE):
            raise _Dropped

    async def _strike_after(self, fault: Fault | None, answer: bytes) -> None:
        if fault is Fault.REBOOT_AFTER:
            self.leaf.reboot()
        if fault in (Fault.DROP_AFTER, Fault.REBOOT_AFTER):
            raise _Dropped
        if fault in (Fault.HALF_THEN_SILENT, Fault.HALF_THEN_GONE):
            whole = framed(answer, chunked=self._framing.chunked)
            self._process.stdout.write(whole[: len(whole) // 2])
            if fault is Fault.HALF_THEN_SILENT:
                await self._say_no_more()
            await self._process.stdout.drain()
            raise _Dropped
        self._send(answer)

    async def _say_no_more(self) -> None:
        """Until the peer is gone."""
        while await self._process.stdin.read(65536):
            pass
        raise _Dropped

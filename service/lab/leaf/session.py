"""One NETCONF session of the virtual leaf (RFC 6241, RFC 6242)."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import asyncssh
import structlog
from lxml import etree

from netconf.owned import NETCONF, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError, apply_edit, check, filtered, without_namespaces
from service.lab.leaf.faults import Fault, point_of, refuse_ports
from service.lab.leaf.framing import BadFrame, Framing, framed
from service.lab.leaf.lldp import neighbors_reply

if TYPE_CHECKING:
    from service.lab.leaf.server import VirtualLeaf

log = structlog.get_logger()

_BASE = "urn:ietf:params:netconf:base:"
CAPABILITIES: tuple[str, ...] = (
    f"{_BASE}1.0",
    f"{_BASE}1.1",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:validate:1.0",
)
_DEFAULT_CONFIRM_S = 600  # RFC 6241 §8.4.5.1
_WARNINGS = 200  # in a flood


class _Dropped(Exception):
    """The session ends here, without an answer."""


class NetconfSession:
    """Reads calls, answers them one after the other, and cleans up behind itself."""

    def __init__(self, leaf: VirtualLeaf, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._leaf = leaf
        self._process = process
        self._framing = Framing()
        self.number = next(leaf.numbers)

    def drop(self) -> None:
        """Cut the connection."""
        self._process.channel.get_connection().abort()

    async def run(self) -> None:
        """Serve until the peer goes."""
        leaf = self._leaf
        if self._process.subsystem != "netconf":
            self._process.exit(1)
            return
        leaf.sessions[self.number] = self
        try:
            self._send(self._hello())
            while await self._serve_next():
                pass
        except (_Dropped, BadFrame, asyncssh.Error, BrokenPipeError, ConnectionError):
            self.drop()
        finally:
            leaf.session_ended(self.number)
            self._process.exit(0)

    def _hello(self) -> bytes:
        hello = etree.Element(f"{{{NETCONF}}}hello", nsmap={"nc": NETCONF})
        capabilities = etree.SubElement(hello, f"{{{NETCONF}}}capabilities")
        for capability in self._leaf.capabilities:
            etree.SubElement(capabilities, f"{{{NETCONF}}}capability").text = capability
        etree.SubElement(hello, f"{{{NETCONF}}}session-id").text = str(self.number)
        return etree.tostring(hello)

    def _send(self, message: bytes) -> None:
        self._process.stdout.write(framed(message, chunked=self._framing.chunked))

    async def _serve_next(self) -> bool:
        while (message := self._framing.next_message()) is None:
            data = await self._process.stdin.read(65536)
            await self._leaf.reachable.wait()
            if not data:
                return False
            self._framing.feed(data)
        try:
            call = etree.fromstring(message, etree.XMLParser(resolve_entities=False, remove_blank_text=True))
        except etree.XMLSyntaxError as err:
            raise BadFrame(str(err)) from None
        if tag_of(call) == "hello":
            self._framing.chunked = any((one.text or "").strip() == f"{_BASE}1.1" for one in call.iter())
            return True
        return await self._answer(call)

    async def _answer(self, call: Element) -> bool:
        leaf, operation = self._leaf, call[0]
        leaf.calls[tag_of(operation)] += 1
        fault = leaf.faults.next.pop(point_of(operation, on_trial=leaf.trial is not None), None)
        await self._strike_before(fault)
        reply = etree.Element(
            f"{{{NETCONF}}}rpc-reply", {"message-id": str(call.get("message-id", ""))}, nsmap={"nc": NETCONF}
        )
        if fault is Fault.WARNINGS:
            warning = EditError("operation-failed", "statement has no contents; ignored")
            reply.extend(_error(warning, "warning") for _ in range(_WARNINGS))
        try:
            if fault is Fault.REFUSE:
                raise EditError("operation-failed", f"mgd: {tag_of(operation)} failed")
            result = await self._do(tag_of(operation), operation)
            reply.append(etree.Element(f"{{{NETCONF}}}ok") if result is None else result)
        except EditError as err:
            reply.extend(_error(one) for one in (err, *err.others))
        await leaf.reachable.wait()
        await self._strike_after(fault, etree.tostring(reply))
        if tag_of(operation) == "commit" and leaf.trial is not None and leaf.faults.black_hole:
            await self._process.stdout.drain()
            leaf.reachable.clear()
        return tag_of(operation) != "close-session"

    async def _strike_before(self, fault: Fault | None) -> None:
        if self._leaf.faults.hang or fault is Fault.HANG:
            await self._say_no_more()
        if fault is Fault.REBOOT_BEFORE:
            self._leaf.reboot()
        if fault in (Fault.DROP_BEFORE, Fault.REBOOT_BEFORE):
            raise _Dropped

    async def _strike_after(self, fault: Fault | None, reply: bytes) -> None:
        if fault is Fault.REBOOT_AFTER:
            self._leaf.reboot()
        if fault in (Fault.DROP_AFTER, Fault.REBOOT_AFTER):
            raise _Dropped
        if fault in (Fault.HALF_THEN_SILENT, Fault.HALF_THEN_GONE):
            whole = framed(reply, chunked=self._framing.chunked)
            self._process.stdout.write(whole[: len(whole) // 2])
            if fault is Fault.HALF_THEN_SILENT:
                await self._say_no_more()
            await self._process.stdout.drain()
            raise _Dropped
        self._send(reply)

    async def _say_no_more(self) -> None:
        """Until the peer is gone."""
        while await self._process.stdin.read(65536):
            pass
        raise _Dropped

    async def _do(self, name: str, operation: Element) -> Element | None:
        leaf = self._leaf
        match name:
            case "get-config":
                return self._get_config(operation)
            case "get-lldp-neighbors-information":
                return neighbors_reply(leaf.neighbors)
            case "lock":
                self._lock()
            case "unlock":
                if leaf.lock_holder != self.number:
                    raise EditError("operation-failed", "the candidate is not locked by this session")
                leaf.lock_holder = None
            case "edit-config":
                self._edit(operation)
            case "validate":
                refuse_ports(leaf.faults.refuse_ports, "validate", leaf.running, leaf.candidate)
                check(leaf.candidate)
            case "discard-changes":
                self._need_free()
                leaf.candidate, leaf.dirty = copy.deepcopy(leaf.running), False
            case "commit":
                await self._commit(operation)
            case "cancel-commit":
                self._cancel(operation)
            case "close-session":
                pass
            case "kill-session":
                self._kill(operation)
            case _:
                raise EditError("operation-not-supported", f"unknown operation {name}")
        return None

    def _get_config(self, operation: Element) -> Element:
        source = _named_child(operation, "source", "running")
        tree = self._leaf.candidate if source == "candidate" else self._leaf.running
        wanted = next((one for one in operation if tag_of(one) == "filter"), None)
        selected = None if wanted is None or not len(wanted) else without_namespaces(wanted[0])
        data = etree.Element(f"{{{NETCONF}}}data", nsmap={"nc": NETCONF})
        data.append(filtered(tree, selected))
        return data

    def _need_free(self, tag: str = "in-use") -> None:
        holder = self._leaf.lock_holder
        if holder not in (None, self.number):
            by = f"session {holder}" if isinstance(holder, int) else holder
            raise EditError(tag, f"configuration database locked by {by}")

    def _lock(self) -> None:
        leaf = self._leaf
        self._need_free("lock-denied")
        if leaf.lock_holder is not None:
            raise EditError("lock-denied", "the candidate is locked by this session already")
        if leaf.dirty:
            raise EditError("lock-denied", "configuration database modified, and so locked by its uncommitted changes")
        leaf.lock_holder = self.number

    def _edit(self, operation: Element) -> None:
        target = _named_child(operation, "target", "")
        if not target:
            raise EditError("missing-element", "the edit has no target", bad_element="target")
        if target != "candidate":  # writable-running is not among the capabilities
            raise EditError("operation-not-supported", f"{target} cannot be edited", bad_element=target)
        self._need_free()
        default = next((one.text for one in operation if tag_of(one) == "default-operation"), "merge") or "merge"
        config = next(one for one in operation if tag_of(one) == "config")
        draft = copy.deepcopy(self._leaf.candidate)
        for root in config:
            apply_edit(draft, without_namespaces(root), default.strip())
        refuse_ports(self._leaf.faults.refuse_ports, "edit-config", self._leaf.running, draft)
        if not self._leaf.faults.lose_edits:
            self._leaf.candidate, self._leaf.dirty = draft, True

    async def _commit(self, operation: Element) -> None:
        leaf, faults = self._leaf, self._leaf.faults
        self._need_free()
        words = {tag_of(one): (one.text or "").strip() for one in operation}
        confirm_s = _DEFAULT_CONFIRM_S
        if "confirm-timeout" in words:
            confirm_s = _positive("confirm-timeout", words["confirm-timeout"])
        trial = leaf.trial
        if trial is not None and trial.persist is not None and words.get("persist-id") != trial.persist:
            raise EditError("in-use", "a confirmed commit is pending under another persist-id")
        if trial is not None and trial.persist is None and trial.session != self.number:
            raise EditError("in-use", "a confirmed commit of another session is pending")
        if words.get("persist-id") and trial is None:
            raise EditError("invalid-value", "no confirmed commit is pending under that persist-id")
        if faults.refuse_next:
            message, faults.refuse_next = faults.refuse_next, ""
            raise EditError("operation-failed", message)
        if faults.refuse_always:
            raise EditError("operation-failed", faults.refuse_always)
        refuse_ports(faults.refuse_ports, "commit", leaf.running, leaf.candidate)
        timeout = confirm_s if "confirmed" in words else None
        if timeout is None and trial is not None and not leaf.dirty:
            leaf.end_trial()
            return
        await leaf.commit(self.number, confirmed_s=timeout, persist=words.get("persist") or None)

    def _cancel(self, operation: Element) -> None:
        trial = self._leaf.trial
        persist = next(((one.text or "").strip() for one in operation if tag_of(one) == "persist-id"), None)
        if trial is None:
            raise EditError("operation-failed", "no confirmed commit is pending")
        if trial.persist != persist:
            raise EditError("invalid-value", "the persist-id is not that of the pending commit")
        self._leaf.roll_back()

    def _kill(self, operation: Element) -> None:
        text = next(((one.text or "").strip() for one in operation if tag_of(one) == "session-id"), "")
        number = _positive("session-id", text)
        victim = self._leaf.sessions.get(number)
        if victim is None or victim is self:
            raise EditError("invalid-value", f"no other session {number}", bad_element="session-id")
        victim.drop()


def _named_child(operation: Element, tag: str, default: str) -> str:
    holder = next((one for one in operation if tag_of(one) == tag), None)
    return default if holder is None or not len(holder) else tag_of(holder[0])


def _positive(tag: str, text: str) -> int:
    """A parameter of the range that RFC 6241's model gives confirm-timeout and session-id: uint32, 1 and up."""
    number = int(text) if re.fullmatch("[0-9]{1,10}", text) else 0
    if not 1 <= number < 2**32:
        raise EditError("invalid-value", f"{tag} is no number from 1 to {2**32 - 1}: {text[:40]!r}", bad_element=tag)
    return number


def _error(err: EditError, severity: str = "error") -> Element:
    error = etree.Element(f"{{{NETCONF}}}rpc-error", nsmap={"nc": NETCONF})
    for tag, text in (
        ("error-type", "application"),
        ("error-tag", err.tag),
        ("error-severity", severity),
        ("error-path", err.path),
        ("error-message", err.message),
    ):
        if text:
            etree.SubElement(error, f"{{{NETCONF}}}{tag}").text = text
    if err.bad_element:
        info = etree.SubElement(error, f"{{{NETCONF}}}error-info")
        etree.SubElement(info, f"{{{NETCONF}}}bad-element").text = err.bad_element
    return error

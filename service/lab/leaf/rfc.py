"""The calls that RFC 6241 has, as the leaf carries them out. Each gives the parts of its reply, or raises EditError."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lxml import etree

from netconf.owned import tag_of
from netconf.render import Element
from service.lab.leaf.databases import Trials
from service.lab.leaf.datastore import EditError, apply_edit, filtered, without_namespaces
from service.lab.leaf.elements import ok, shown
from service.lab.leaf.message import error

if TYPE_CHECKING:
    from service.lab.leaf.session import NetconfSession

Parts = list[Element]

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
_DEFAULT_CONFIRM_S = 600  # RFC 6241 §8.4.5.1


def child(element: Element, tag: str) -> Element | None:
    """The first child of that name, in whatever namespace."""
    return next((one for one in element if tag_of(one) == tag), None)


def text_of(element: Element, tag: str) -> str | None:
    """What the child of that name says, or None."""
    found = child(element, tag)
    return None if found is None else (found.text or "").strip()


def warned(warnings: Sequence[str]) -> Parts:
    """The warnings, to stand beside a yes."""
    return [error(EditError("operation-failed", warning), "warning") for warning in warnings]


def _datastore(operation: Element, parameter: str, known: Sequence[str]) -> str:
    holder = child(operation, parameter)
    if holder is None or not len(holder):
        raise EditError("missing-element", f"the call has no {parameter}", bad_element=parameter)
    name = tag_of(holder[0])
    if name not in known:
        raise EditError("operation-not-supported", f"{name} cannot be its {parameter}", bad_element=name)
    return name


def positive(tag: str, text: str) -> int:
    """A parameter of the range that RFC 6241's model gives confirm-timeout and session-id: uint32, 1 and up."""
    number = int(text) if re.fullmatch("[0-9]{1,10}", text) else 0
    if not 1 <= number < 2**32:
        raise EditError("invalid-value", f"{tag} is no number from 1 to {2**32 - 1}: {text[:40]!r}", bad_element=tag)
    return number


async def get_config(session: NetconfSession, operation: Element) -> Parts:
    """§7.1, with subtree filters."""
    source = _datastore(operation, "source", ("running", "candidate"))
    tree = session.leaf.running if source == "running" else session.workspace.tree
    data = etree.Element("data")
    wanted = child(operation, "filter")
    if wanted is None:
        data.append(shown(copy.deepcopy(tree)))
        return [data]
    if wanted.get("type", "subtree") != "subtree":
        raise EditError("operation-not-supported", "only subtree filters are known", bad_element="filter")
    if (selected := filtered(tree, [without_namespaces(one) for one in wanted])) is not None:
        data.append(shown(selected))
    return [data]


async def get(session: NetconfSession, operation: Element) -> Parts:
    """§7.7, for the sessions that there are (RFC 6022 §2.1.4); other state has calls of its own on Junos."""
    data = etree.Element("data")
    wanted = child(operation, "filter")
    if wanted is not None and any(tag_of(one) == "netconf-state" for one in wanted):
        state = etree.SubElement(data, "netconf-state")
        state.set("xmlns", MONITORING)
        sessions = etree.SubElement(state, "sessions")
        for number, other in session.leaf.sessions.items():
            entry = etree.SubElement(sessions, "session")
            for tag, text in (
                ("session-id", str(number)),
                ("transport", "netconf-ssh"),
                ("username", session.leaf.user),
                ("login-time", other.since),
            ):
                etree.SubElement(entry, tag).text = text
    return [data]


async def lock(session: NetconfSession, operation: Element) -> Parts:
    """§7.5."""
    _datastore(operation, "target", ("candidate",))
    session.leaf.lock(session.number)
    return [ok()]


async def unlock(session: NetconfSession, operation: Element) -> Parts:
    """§7.6."""
    _datastore(operation, "target", ("candidate",))
    session.leaf.unlock(session.number)
    return [ok()]


async def edit_config(session: NetconfSession, operation: Element) -> Parts:
    """§7.2. Nothing of an edit is done if it cannot be done as a whole (rollback-on-error)."""
    _datastore(operation, "target", ("candidate",))  # writable-running is not among the capabilities
    config = child(operation, "config")
    if config is None:
        raise EditError("missing-element", "the edit has no config", bad_element="config")
    default = text_of(operation, "default-operation") or "merge"
    if default not in ("merge", "replace", "none"):
        raise EditError("invalid-value", f"unknown operation {default!r}", bad_element="default-operation")
    draft = etree.Element("configuration") if default == "replace" else copy.deepcopy(session.workspace.tree)
    for root in config:
        if tag_of(root) != "configuration":
            raise EditError("unknown-element", "syntax error", bad_element=tag_of(root))
        apply_edit(draft, without_namespaces(root), default)
    session.workspace.edit(draft)
    return [ok()]


async def validate(session: NetconfSession, operation: Element) -> Parts:
    """§8.6."""
    source = child(operation, "source")
    if source is not None and child(source, "config") is None:
        _datastore(operation, "source", ("candidate",))
    return [*warned(session.workspace.validate()), ok()]


async def discard_changes(session: NetconfSession, operation: Element) -> Parts:
    """§8.3.4.2."""
    session.workspace.discard()
    return [ok()]


async def commit(session: NetconfSession, operation: Element) -> Parts:
    """§8.3.4.1, §8.4.5.1."""
    timeout = text_of(operation, "confirm-timeout")
    seconds = _DEFAULT_CONFIRM_S if timeout is None else positive("confirm-timeout", timeout)
    persist, persist_id = text_of(operation, "persist") or "", text_of(operation, "persist-id") or ""
    if session.leaf.trials is Trials.DEVICE and (persist or persist_id):
        raise EditError("unknown-element", "syntax error", bad_element="persist" if persist else "persist-id")
    warnings = await session.workspace.commit(
        confirmed_s=None if child(operation, "confirmed") is None else seconds,
        persist=persist,
        persist_id=persist_id,
        log="",
    )
    return [*warned(warnings or ()), ok()]


async def cancel_commit(session: NetconfSession, operation: Element) -> Parts:
    """§8.4.4.1."""
    leaf = session.leaf
    if leaf.trials is Trials.DEVICE:
        raise EditError("operation-not-supported", "syntax error", bad_element="cancel-commit")
    if leaf.trial is None:
        raise EditError("operation-failed", "no confirmed commit is pending")
    if leaf.trial.persist != text_of(operation, "persist-id"):
        raise EditError("invalid-value", "the persist-id is not that of the pending commit")
    leaf.roll_back()
    await leaf.gone_back()
    return [ok()]


async def close_session(session: NetconfSession, operation: Element) -> Parts:
    """§7.8."""
    return [ok()]


async def kill_session(session: NetconfSession, operation: Element) -> Parts:
    """§7.9."""
    victim = session.leaf.sessions.get(positive("session-id", text_of(operation, "session-id") or ""))
    if victim is None or victim is session:
        raise EditError("invalid-value", "no other session has that number", bad_element="session-id")
    victim.killed = True
    victim.drop()
    return [ok()]

"""What a leaf says in a reply: yes, no, or that somebody else has the candidate. Pure.

ncclient's own reply parser can take an error for success, so replies are read by their own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from netconf.errors import LockedByOther, Refused
from netconf.owned import tag_of
from netconf.render import Element

# What Junos wraps its answers to a load or a commit in, one for each routing engine.
_ENVELOPES = {
    "commit-results",
    "load-configuration-results",
    "multi-routing-engine-item",
    "multi-routing-engine-results",
    "routing-engine",
}
_YES = {"ok", "commit-success", "commit-check-success", "load-success"}
_IN_HANDS = re.compile(r"\blocked by\b|\bdatabase modified\b", re.IGNORECASE)
# "configuration database locked by:\n  lab terminal p0 (pid 4711) on since 2025-01-01 00:00:00 UTC, idle 00:10:00"
_JUNOS_LOCK = re.compile(r"locked by:?\s+(\S+)\s.*?\(pid (\d+)\)", re.DOTALL)


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


def _is(element: Element, tag: str) -> bool:
    return isinstance(element.tag, str) and tag_of(element) == tag


def _text(element: Element) -> str:
    return " ".join("".join(map(str, element.itertext())).split())


def _words(error: Element, tag: str) -> str:
    return next((_text(child) for child in error if _is(child, tag)), "")


def _reason(error: Element) -> str:
    return _words(error, "error-message") or _words(error, "message") or _words(error, "error-tag") or "error"


def locked_by(said: str, session: str = "") -> LockedByOther:
    """Who holds the lock, by what the leaf says of him: Junos tells his login and his session as the number of a
    process, RFC 6241 §7.5 the session, 0 for what is none.
    """
    junos = _JUNOS_LOCK.search(said)
    if junos is not None:
        return LockedByOther(said, session=junos[2], user=junos[1])
    session = "" if session == "0" else session
    return LockedByOther(f"session {session}: {said}" if session else said, session=session)


def refusal_in(reply: Element) -> Refused | None:
    """The leaf's no to a question, if it is one. Raises LockedByOther."""
    try:
        raise_for(reply, must_say_ok=False)
    except Refused as err:
        return err
    return None


def raise_for(reply: Element, *, must_say_ok: bool) -> None:
    """Raises Refused or LockedByOther for a reply that is no plain success."""
    errors = _errors(reply)
    if errors:
        first = errors[0]
        said = tuple((_reason(error), _words(error, "error-path")) for error in errors)
        reason = "; ".join(message for message, _ in said)
        tag = _words(first, "error-tag")
        if tag in ("lock-denied", "in-use") or _IN_HANDS.search(reason):
            raise locked_by(reason, next((_text(one) for one in first.iter() if _is(one, "session-id")), ""))
        raise Refused(reason, said[0][1], said, tag)
    tags = {tag_of(element) for element in _statements(reply)}
    if must_say_ok and not tags & _YES:
        raise Refused(f"the leaf said neither yes nor no: {sorted(tags)}")

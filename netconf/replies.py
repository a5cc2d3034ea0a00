"""What a leaf says in a reply: yes, no, or that somebody else has the candidate. Pure.

ncclient's own reply parser can take an error for success (junos.md §1), so replies are read by their own words.
"""

from __future__ import annotations

from collections.abc import Iterator

from netconf.errors import LockedByOther, Refused
from netconf.owned import NETCONF, tag_of
from netconf.render import Element

# What Junos wraps its answers to a load or a commit in, one for each routing engine.
_ENVELOPES = {
    "commit-results",
    "load-configuration-results",
    "multi-routing-engine-item",
    "multi-routing-engine-results",
    "routing-engine",
}


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


def raise_for(reply: Element, *, must_say_ok: bool) -> None:
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

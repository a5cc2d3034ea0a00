"""What can be wrong with a virtual leaf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError

Step = Literal["edit-config", "validate", "commit"]


@dataclass(frozen=True, slots=True)
class PortRefusal:
    """The leaf refuses any change of these ports."""

    ports: Mapping[str, str]  # and with which message
    at: Step  # the first one that sees it; what a validate refuses a commit refuses, too
    named: bool  # whether an error-path tells the port; if so, all of them are told at once


@dataclass(slots=True)
class LeafFaults:
    """What is wrong with the leaf; to be set at any moment. Each `…_next` is good for one commit."""

    refuse_next: str = ""  # refuse the commit with this message
    refuse_always: str = ""  # and each one after it
    refuse_ports: PortRefusal | None = None
    drop_before_commit_next: bool = False  # the session ends and nothing was committed
    drop_after_commit_next: bool = False  # the session ends after the commit and before its answer
    hang: bool = False  # answer nothing any more
    lose_edits: bool = False  # say ok to an edit and forget it
    black_hole: bool = False  # refuse new sessions once a change was committed


def refuse_ports(fault: PortRefusal | None, step: Step, running: Element, changed: Element) -> None:
    """Raises EditError when the change touches a port that it must not touch at this step."""
    if fault is None or step not in ((fault.at, "commit") if fault.at == "validate" else (fault.at,)):
        return
    difference = set(_statements(running, "")) ^ set(_statements(changed, ""))
    errors = [
        EditError("operation-failed", message, f"[edit interfaces {port} unit 0]" if fault.named else "")
        for port, message in fault.ports.items()
        if any(re.search(rf"\b{re.escape(port)}(?![0-9/])", statement) for statement in difference)
    ]
    if errors:
        errors[0].others = tuple(errors[1:]) if fault.named else ()
        raise errors[0]


def _statements(element: Element, above: str) -> Iterator[str]:
    """Every statement with the path to it, a line each."""
    here = f"{above} {tag_of(element)} {name_of(element)}"
    if not len(element):
        yield f"{here} {(element.text or '').strip()}"
    for child in element:
        yield from _statements(child, here)

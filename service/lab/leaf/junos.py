"""Junos' own calls about the configuration, as the leaf carries them out. Each gives the parts of its reply.

Those that load or commit tell what went wrong inside of their results, beside what went well.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

from lxml import etree

from netconf.owned import tag_of
from netconf.render import Element
from service.lab.leaf.databases import DEFAULT_INSTANCE, Commit
from service.lab.leaf.datastore import EditError, apply_edit, filtered, without_namespaces
from service.lab.leaf.elements import XNM, ok, shown
from service.lab.leaf.message import JUNOS, error
from service.lab.leaf.rfc import Parts, child, positive, text_of, warned
from service.lab.leaf.shown import compared, delta, set_lines, text_lines
from service.lab.leaf.words import commands, text_edit
from service.lab.leaf.workspaces import Ephemeral, Private, Shared

if TYPE_CHECKING:
    from service.lab.leaf.session import NetconfSession

_ENGINE = "fpc0"  # a QFX has its routing engine in its only line card
_DEFAULT_CONFIRM_MINUTES = 10
_COMMIT_OPTIONS = {"check", "confirmed", "confirm-timeout", "log", "synchronize", "force-synchronize", "full"}


async def lock_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`lock-configuration`: as `lock`, of the candidate."""
    session.leaf.lock(session.number)
    return [ok()]


async def unlock_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`unlock-configuration`."""
    session.leaf.unlock(session.number)
    return [ok()]


async def open_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`open-configuration`: the candidate, a private copy of it, or an instance of the ephemeral database."""
    if not isinstance(session.workspace, Shared):
        raise EditError("operation-failed", "Configuration database is already open")
    leaf, instance = session.leaf, text_of(operation, "ephemeral-instance")
    if child(operation, "private") is not None:
        session.workspace = Private(leaf, session.number)
    elif instance is not None or child(operation, "ephemeral") is not None:
        session.workspace = Ephemeral(leaf, session.number, instance or DEFAULT_INSTANCE)
        return [ok()]
    return [*warned(["uncommitted changes will be discarded on exit"]), ok()]


async def close_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`close-configuration`: what was not committed is lost, but for the candidate's."""
    if isinstance(session.workspace, Shared):
        raise EditError("operation-failed", "Configuration database is not open")
    session.workspace.close()
    session.workspace = Shared(session.leaf, session.number)
    return [ok()]


def _rolled_back(session: NetconfSession, text: str) -> Commit:
    number = int(text) if text.isdecimal() and len(text) < 4 else -1
    if not 0 <= number < len(session.leaf.history):
        raise EditError("operation-failed", f"rollback {text[:40]} is not there", bad_element="rollback")
    return session.leaf.history[number]


async def load_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`load-configuration`, as XML, as text with braces, as `set` commands, or from what ran before.

    Of `set` commands those are done that can be; all else is done as a whole or not at all.
    """
    results = etree.Element("load-configuration-results")
    missing: list[EditError] = []
    failed: list[EditError] = []
    draft = copy.deepcopy(session.workspace.tree)
    try:
        if (number := operation.get("rollback")) is not None:
            draft = copy.deepcopy(_rolled_back(session, number).configuration)
        elif operation.get("action") == "set":
            for edit in commands(_loaded(operation, "configuration-set").text or ""):
                if isinstance(edit, EditError):
                    failed.append(edit)
                else:
                    apply_edit(draft, edit, missing=missing)
        else:
            draft = _edited(draft, operation, missing)
        if operation.get("rollback") == "0":
            session.workspace.discard()
        else:
            session.workspace.edit(draft)
    except EditError as err:
        failed += [err, *err.others]
    results.extend(error(one, "warning") for one in missing)
    results.extend(error(one) for one in failed)
    if failed:
        etree.SubElement(results, "load-error-count").text = str(len(failed))
    else:
        results.append(ok())
    return [results]


def _loaded(operation: Element, tag: str) -> Element:
    found = child(operation, tag)
    if found is None:
        raise EditError("missing-element", f"there is no {tag} to load", bad_element=tag, layer="protocol")
    return found


def _edited(draft: Element, operation: Element, missing: list[EditError]) -> Element:
    """What a configuration that is loaded as XML or text makes of a database."""
    action, form = operation.get("action", "merge"), operation.get("format", "xml")
    if action not in ("merge", "replace", "override", "overwrite", "update"):
        raise EditError("bad-attribute", f"unknown action {action!r}", bad_element="action", layer="protocol")
    if form == "xml":
        edit = without_namespaces(_loaded(operation, "configuration"))
    elif form == "text":
        edit = text_edit(_loaded(operation, "configuration-text").text or "")
    else:
        raise EditError("operation-not-supported", f"unknown format {form!r}", bad_element="format", layer="protocol")
    if action not in ("merge", "replace"):
        draft = etree.Element("configuration")
    elif action == "merge":
        _merge_only(edit)
    apply_edit(draft, edit, missing=missing)
    return draft


def _merge_only(edit: Element) -> None:
    """With the action merge nothing is replaced, whatever its attributes say."""
    for one in edit.iter():
        for name, value in one.attrib.items():
            if value == "replace":
                del one.attrib[name]


async def commit_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`commit-configuration`, with `<check/>`, `<log>`, and `<confirmed/>`, whose timeout is in minutes."""
    options = {tag_of(one): (one.text or "").strip() for one in operation}
    if unknown := sorted(options.keys() - _COMMIT_OPTIONS):
        raise EditError("unknown-element", "syntax error", bad_element=unknown[0], layer="protocol")
    minutes = _DEFAULT_CONFIRM_MINUTES
    if "confirm-timeout" in options:
        minutes = positive("confirm-timeout", options["confirm-timeout"])
    results = etree.Element("commit-results")
    try:
        if "check" in options:
            warnings: list[str] | None = session.workspace.validate()
        else:
            confirmed_s = minutes * 60 if "confirmed" in options else None
            warnings = await session.workspace.commit(confirmed_s=confirmed_s, log=options.get("log", ""))
    except EditError as err:
        results.extend(error(one) for one in (err, *err.others))
        return [results]
    if warnings is None:  # a private copy without changes
        return [results]
    results.extend(warned(warnings))
    if isinstance(session.workspace, Private):
        etree.SubElement(results, "load-success")
    engine = etree.SubElement(results, "routing-engine", {f"{{{JUNOS}}}style": "normal"})
    etree.SubElement(engine, "name").text = _ENGINE
    etree.SubElement(engine, "commit-check-success" if "check" in options else "commit-success")
    return [results, ok()]


async def get_configuration(session: NetconfSession, operation: Element) -> Parts:
    """`get-configuration`: the open database or what is committed there, in any form, or compared with a rollback."""
    committed = operation.get("database", "candidate") == "committed"
    tree = session.workspace.committed if committed else session.workspace.tree
    form = operation.get("format", "xml")
    if (compare := operation.get("compare")) is not None:
        if compare != "rollback":
            raise EditError("bad-attribute", f"unknown comparison {compare!r}", bad_element="compare", layer="protocol")
        number = operation.get("rollback", "0")
        # What a database of one's own is compared with first is what was committed there.
        old = session.workspace.committed if number == "0" else _rolled_back(session, number).configuration
        return [_comparison(old, tree, form)]
    wanted = child(operation, "configuration")
    if wanted is not None and len(wanted):
        selected = filtered(tree, [without_namespaces(wanted)])
        tree = etree.Element("configuration") if selected is None else selected
    return [_in_form(copy.deepcopy(tree), form, session.leaf.history[0])]


def _in_form(tree: Element, form: str, commit: Commit) -> Element:
    """A configuration as XML, or in words. Changes the element."""
    if form == "xml":
        return shown(tree, changed_seconds=str(commit.seconds), changed_localtime=_local(commit.seconds))
    if form not in ("text", "set"):
        raise EditError("operation-not-supported", f"unknown format {form!r}", bad_element="format", layer="protocol")
    made = etree.Element(f"configuration-{form}")
    made.set("xmlns", XNM)
    lines = text_lines(tree) if form == "text" else set_lines(tree)
    made.text = "".join(f"{line}\n" for line in ["", *lines])
    return made


def _comparison(old: Element, new: Element, form: str) -> Element:
    made = etree.Element("configuration-information")
    if form == "xml":
        changes = delta(old, new)
        made.append(shown(etree.Element("configuration") if changes is None else changes))
        return made
    output = etree.SubElement(made, "configuration-output")
    output.text = "".join(f"{line}\n" for line in ["", *compared(old, new)])
    return made


def _local(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


async def get_commit_information(session: NetconfSession, operation: Element) -> Parts:
    """`get-commit-information`: who committed what ran, from where, when, and with which message."""
    made = etree.Element("commit-information")
    for number, commit in enumerate(session.leaf.history):
        entry = etree.SubElement(made, "commit-history")
        etree.SubElement(entry, "sequence-number").text = str(number)
        etree.SubElement(entry, "user").text = commit.user
        etree.SubElement(entry, "client").text = commit.client
        date = etree.SubElement(entry, "date-time", {f"{{{JUNOS}}}seconds": str(commit.seconds)})
        date.text = _local(commit.seconds)
        for tag, text in (("comment", commit.comment), ("log", commit.log)):
            if text:
                etree.SubElement(entry, tag).text = text
        if number == 0 and session.leaf.trial is not None:
            etree.SubElement(entry, "commit-confirmed").text = "rollback pending"
    return [made]


async def get_rollback_information(session: NetconfSession, operation: Element) -> Parts:
    """`get-rollback-information`: what ran before, or how it differs from what ran at another time."""
    commit = _rolled_back(session, text_of(operation, "rollback") or "0")
    form = text_of(operation, "format") or "xml"
    made = etree.Element("rollback-information")
    made.append(ok())
    other = text_of(operation, "compare")
    if other is not None:
        made.append(_comparison(_rolled_back(session, other).configuration, commit.configuration, form))
    elif form == "xml":
        made.append(_in_form(copy.deepcopy(commit.configuration), form, commit))
    else:
        information = etree.SubElement(made, "configuration-information")
        text = _in_form(commit.configuration, form, commit).text
        etree.SubElement(information, "configuration-output").text = text
    return [made]


async def get_system_information(session: NetconfSession, operation: Element) -> Parts:
    """`get-system-information`: which device it is."""
    made = etree.Element("system-information")
    for tag, text in (
        ("hardware-model", "qfx5120-48y-8c"),
        ("os-name", "junos-qfx"),
        ("os-version", "21.4R1.12"),
        ("host-name", session.leaf.running.findtext("system/host-name") or session.leaf.name),
    ):
        etree.SubElement(made, tag).text = text
    return [made]

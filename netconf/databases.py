"""How a change is drafted and committed in each of a leaf's configuration databases: a row of calls for each.

The shared candidate, under its lock, is the one that can be committed on trial, and so the only one in which a change
that cuts the leaf off takes itself back. It is the default, and the others have their price:

- private: a copy of the candidate of our own, so that operators who work in private copies, too, and we do not lock one
  another out. Uncommitted edits in the shared candidate still do. Junos has no confirmed commit for it: what is not as
  it should be afterwards is undone by another commit, which reaches the leaf only while the leaf can be reached. A
  process that is killed between commit and verification leaves a change that nobody has verified.
- ephemeral: an instance of our own beside what is configured, whose commits take no part in the candidate's and a
  fraction of their time. Junos checks its syntax only, has no confirmed commit for it, does not show it in `show
  configuration`, and forgets it when it is not configured (`system configuration-database ephemeral instance
  roundhouse`). So only what moves often and harms least goes there: the static routes of elastic blocks, and the
  prefix-list entries that let them in. All else - interfaces, filters, BGP and its keys - goes through the candidate.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from netconf.by_port import Objects
from netconf.connection import Database
from netconf.errors import Refused
from netconf.owned import NETCONF, Key, name_of, plain, tag_of
from netconf.render import Element
from netconf.session import LeafSession, configuration_in

INSTANCE = "roundhouse"  # of the ephemeral database

_LONG_S = 60.0
_COMMIT_S = 180.0
_OPERATION = f"{{{NETCONF}}}operation"
_LIST = ("policy-options", "prefix-list")

Call = Callable[[LeafSession], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The calls that a change is made of."""

    begin: Call  # from here on nobody else's edits are in it; raises LockedByOther
    end: Call  # what is not committed is thrown away
    clear: Call  # the draft is what is running
    load: Callable[[LeafSession, Element], Awaitable[None]]
    check: Call  # have the leaf say whether it would commit it
    drafted: Callable[[LeafSession], Awaitable[Element]]
    running: Callable[[LeafSession], Awaitable[Element]]  # what is committed in this database; by any session
    commit: Call  # for good
    on_trial: bool  # whether it can be committed on trial, too


async def _end_candidate(session: LeafSession) -> None:
    await session.discard_changes()
    await session.unlock()


async def _validate(session: LeafSession) -> None:
    if session.validates:
        await session.validate()


async def _nothing(session: LeafSession) -> None:
    """There is no such call: the ephemeral database is not checked."""


async def _open(session: LeafSession, what: Element) -> None:
    operation = _operation("open-configuration")
    operation.append(copy.deepcopy(what))
    await session.rpc(operation, must_say_ok=False)


async def _open_private(session: LeafSession) -> None:
    await _open(session, etree.Element(f"{{{NETCONF}}}private"))


async def _open_instance(session: LeafSession) -> None:
    instance = etree.Element(f"{{{NETCONF}}}ephemeral-instance")
    instance.text = INSTANCE
    await _open(session, instance)


async def _close(session: LeafSession) -> None:
    with suppress(Refused):  # it is closed already
        await session.rpc(_operation("close-configuration"), must_say_ok=False)


def _anew(begin: Call) -> Call:
    async def clear(session: LeafSession) -> None:
        await _close(session)
        await begin(session)

    return clear


async def _load(session: LeafSession, document: Element) -> None:
    operation = _operation("load-configuration")
    operation.set("action", "replace")
    operation.set("format", "xml")
    operation.append(as_loaded(document))
    await session.rpc(operation, timeout_s=_LONG_S)


async def _check(session: LeafSession) -> None:
    operation = _operation("commit-configuration")
    etree.SubElement(operation, f"{{{NETCONF}}}check")
    await session.rpc(operation, timeout_s=_COMMIT_S)


async def _commit(session: LeafSession) -> None:
    operation = _operation("commit-configuration")
    etree.SubElement(operation, f"{{{NETCONF}}}log").text = INSTANCE
    await session.rpc(operation, timeout_s=_COMMIT_S)


async def _shown(session: LeafSession) -> Element:
    """The database that the session has open."""
    return configuration_in(await session.rpc(_operation("get-configuration"), timeout_s=_LONG_S, must_say_ok=False))


async def _commit_instance(session: LeafSession) -> None:
    await _commit(session)
    # Only one session at a time has it open, and now the witness wants to see it.
    await _close(session)


async def _instance(session: LeafSession) -> Element:
    await _open_instance(session)
    try:
        return await _shown(session)
    finally:
        await _close(session)


DRAFTS = {
    Database.CANDIDATE: Draft(
        begin=lambda session: session.lock(),
        end=_end_candidate,
        clear=lambda session: session.discard_changes(),
        load=lambda session, document: session.edit_candidate(document),
        check=_validate,
        drafted=lambda session: session.get_config("candidate"),
        running=lambda session: session.get_config("running"),
        commit=lambda session: session.confirm(None),
        on_trial=True,
    ),
    Database.PRIVATE: Draft(
        begin=_open_private,
        end=_close,
        clear=_anew(_open_private),
        load=_load,
        check=_check,
        drafted=_shown,
        running=lambda session: session.get_config("running"),
        commit=_commit,
        on_trial=False,
    ),
    Database.EPHEMERAL: Draft(
        begin=_open_instance,
        end=_close,
        clear=_anew(_open_instance),
        load=_load,
        check=_nothing,
        drafted=_shown,
        running=_instance,
        commit=_commit_instance,
        on_trial=False,
    ),
}


def as_loaded(document: Element) -> Element:
    """An edit as `<load-configuration>` wants it: Junos' own attributes in place of RFC 6241's operations."""
    made = copy.deepcopy(document)
    for element in made.iter():
        if (operation := element.get(_OPERATION)) is not None:
            del element.attrib[_OPERATION]
            element.set(operation, operation)
    return made


def divided(objects: Objects) -> tuple[dict[Key, Element], dict[Key, Element]]:
    """What of ours goes through the candidate, and what is ephemeral where that is chosen.

    The latter are elastic blocks: their static routes, and their entries in lists that hold more than them.
    """
    blocks = {key[-1] for key in objects if key[-2] == "route"}
    lasting: dict[Key, Element] = {}
    ephemeral: dict[Key, Element] = {}
    for key, element in objects.items():
        if key[-2] == "route":
            ephemeral[key] = element
            continue
        moving = [one for one in element if name_of(one) in blocks] if key[:-1] == _LIST else []
        if moving:
            here, there = copy.deepcopy(element), etree.Element(element.tag)
            for one in [one for one in here if name_of(one) in blocks]:
                here.remove(one)
            etree.SubElement(there, "name").text = key[-1]
            there.extend(copy.deepcopy(one) for one in moving)
            lasting[key], ephemeral[key] = plain(here), plain(there)
        else:
            lasting[key] = element
    return lasting, ephemeral


def overlaid(configuration: Element, more: Element) -> Element:
    """A configuration with another one in it, as the leaf makes one of what is configured and what is ephemeral."""
    made = copy.deepcopy(configuration)
    _overlay(made, more)
    return made


def _overlay(target: Element, more: Element) -> None:
    for child in (one for one in more if isinstance(one.tag, str)):
        text = (child.text or "").strip()
        there = next(
            (
                one
                for one in target
                if isinstance(one.tag, str)
                and (tag_of(one), name_of(one)) == (tag_of(child), name_of(child))
                and (len(child) > 0 or (one.text or "").strip() == text)
            ),
            None,
        )
        if there is None:
            target.append(copy.deepcopy(child))
        else:
            _overlay(there, child)


def _operation(tag: str) -> Element:
    return etree.Element(f"{{{NETCONF}}}{tag}", nsmap={None: NETCONF})  # type: ignore[dict-item]

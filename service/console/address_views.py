"""The pages of the address manager: the tree, one prefix with a map of its space, and who had an address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any

from ipam.abuse import tags
from ipam.errors import IpamError
from ipam.history import history
from ipam.ledger import holding, tenures_in
from ipam.prefixes import Usage, prefix_by_id, usage, vrfs
from ipam.space import Network
from service.addresses.asked import time_of
from service.addresses.objects import names_in, tenure_object
from service.api.problems import Refused
from service.console.look import Look, Page
from sql.loader import Q

_CELLS = 8  # bits of a map: 256 cells
_TENURES = 200  # on a prefix's page; the command line lists them all


@dataclass(frozen=True, slots=True)
class Twig:
    """A prefix in its place of the tree."""

    one: Usage
    vrf: str
    depth: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One part of a prefix's map: how much of it is held, tagged, and cooling down, each between 0 and 1."""

    block: Network
    held: float
    tagged: float
    cooling: float

    @property
    def kind(self) -> str:
        """What the cell mostly is, for its colour."""
        shares = {"tagged": self.tagged, "held": self.held, "cooling": self.cooling}
        kind = max(shares, key=lambda name: shares[name])
        return kind if shares[kind] > 0 else "free"


async def prefix_list(look: Look) -> Page:
    """The address space as a tree, and what is taken of it."""
    names = {id_: name for name, id_ in (await vrfs(look.api.db)).items()}
    found = await usage(look.api.db)
    depths: dict[int | None, int] = {}
    for one in found:
        depths[one.prefix.id] = depths.get(one.prefix.parent_id, -1) + 1
    twigs = [Twig(one, names[one.prefix.vrf_id], depths[one.prefix.id]) for one in found]
    return {"prefixes": twigs, "several_vrfs": len(names) > 1, "live": False}


async def prefix(look: Look) -> Page | None:
    """One prefix: a map of its space, and what lives in it."""
    text = look.request.match_info["prefix"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        return None
    try:
        node = await prefix_by_id(look.api.db, int(text))
    except IpamError:
        return None
    names = {id_: name for name, id_ in (await vrfs(look.api.db)).items()}
    (one,) = await usage(look.api.db, ids=[node.id], standing=node.standing)
    total, found = await tenures_in(look.api.db, node.id, offset=0, limit=_TENURES)
    called = await names_in(look.api.db, found)
    return {
        "one": one,
        "vrf": names[node.vrf_id],
        "parent": None if node.parent_id is None else await prefix_by_id(look.api.db, node.parent_id),
        "below": [child for child in await usage(look.api.db) if child.prefix.parent_id == node.id],
        "cells": [] if node.role == "container" else await _map(look, one),
        "tenures": [tenure_object(tenure, called) for tenure in found],
        "total": total,
        "live": False,
    }


async def _map(look: Look, one: Usage) -> list[Cell]:
    whole, cool_down_s = ip_network(str(one.prefix.cidr)), look.api.settings.cool_down_s
    length = min(whole.prefixlen + _CELLS, one.prefix.block_length)
    rows = await look.api.db.fetch(Q["map_of_prefix"], one.prefix.id, length, look.api.clock.now(), cool_down_s)
    shares: dict[str, dict[Network, float]] = {"held": {}, "tagged": {}, "cooling": {}}
    size = 2.0 ** (whole.max_prefixlen - length)
    for row in rows:
        part, block = shares[row["kind"]], row["block"]
        if block.prefixlen >= length:
            part[block] = part.get(block, 0) + row["addresses"] / size
        else:
            part |= dict.fromkeys(block.subnets(new_prefix=length), 1.0)
    cells = [whole] if length == whole.prefixlen else whole.subnets(new_prefix=length)
    return [Cell(block, *(shares[kind].get(block, 0.0) for kind in ("held", "tagged", "cooling"))) for block in cells]


async def address(look: Look) -> Page:
    """Who has or had an address, and all that the ledger ever said of it."""
    asked, at_text = (look.request.query.get(name, "").strip() for name in ("ip", "at"))
    page: Page = {"ip": asked, "at": at_text, "wrong": None, "tenures": [], "entries": [], "tags": [], "live": False}
    if not asked:
        return page
    try:
        block = ip_network(ip_address(asked))
        at = time_of("At", at_text) if at_text else look.api.clock.now()
    except ValueError as err:
        return page | {"wrong": str(err)}
    except Refused as err:
        return page | {"wrong": err.errors[0]}
    return page | await _told(look, block, at)


async def _told(look: Look, block: Network, at: datetime) -> dict[str, Any]:
    names = {id_: name for name, id_ in (await vrfs(look.api.db)).items()}
    entries = await history(look.api.db, block, vrf_ids=list(names))
    found = await holding(look.api.db, block, at, vrf_ids=list(names))
    called = await names_in(look.api.db, [entry.tenure for entry in entries])
    return {
        "shown_at": at,
        "tenures": [tenure_object(tenure, called) | {"vrf": names[tenure.vrf_id]} for tenure in found],
        "entries": [(entry, tenure_object(entry.tenure, called)) for entry in reversed(entries)],
        "tags": await tags(look.api.db, block=block, cleared_too=True),
    }

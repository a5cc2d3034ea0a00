"""What an import wishes for and an export tells, whatever the format: one row a thing. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid5

from ipam.errors import IpamError
from ipam.prefixes import ROLES, STATUSES
from ipam.space import Network

# What has no other owner belongs to this: the same block of the same VRF gets the same owner in every installation.
_NAMESPACE = UUID("6d7b6f1e-3a52-5a0c-9d0a-5f2f9b1c7e11")
IMPORTED = "imported"  # the slot of a tenure that an import made and may change
DEFAULT_VRF = "default"  # NetBox calls it the global table

# An import neither retires a prefix nor brings one back.
IMPORTABLE = tuple(status for status in STATUSES if status != "retired")
LAST_ASN = 4_294_967_294  # RFC 7300 §2 reserves the one after it

# What a prefix hands out when the source does not say: a host's link is a /31, its IPv6 a /64.
_BLOCKS = {("boot", 4): 31, ("boot6", 6): 64, ("public", 4): 31, ("private", 4): 31, ("ipv6", 6): 64}

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL's text holds neither NUL nor half a surrogate pair
_DEPTH = 32
_PROBLEMS_TOLD = 100


@dataclass(frozen=True, slots=True)
class VrfRow:
    """A VRF."""

    name: str

    def __str__(self) -> str:
        return f"VRF {self.name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose space a prefix is."""

    kind: Literal["organization", "project"]
    id: UUID

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class PrefixRow:
    """A node of the tree."""

    vrf: str
    cidr: Network
    role: str
    facility: str | None
    block_length: int
    status: str
    description: str
    owner: Owner | None

    def __str__(self) -> str:
        return f"{self.cidr} in VRF {self.vrf}"


@dataclass(frozen=True, slots=True)
class AddressRow:
    """A block that somebody holds."""

    vrf: str
    block: Network
    owner: UUID
    slot: str
    project_id: UUID | None
    note: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.block} in VRF {self.vrf}"


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A range of AS numbers, both ends included."""

    name: str
    first: int
    last: int
    facility: str | None

    def __str__(self) -> str:
        return f"pool {self.name}"


@dataclass(frozen=True, slots=True)
class AsnRow:
    """An AS number that somebody holds."""

    asn: int
    owner: UUID
    slot: str
    note: Mapping[str, Any]

    def __str__(self) -> str:
        return f"AS{self.asn}"


Row: TypeAlias = VrfRow | PrefixRow | AddressRow | PoolRow | AsnRow
KINDS: dict[type[Row], str] = {
    VrfRow: "vrf",
    PrefixRow: "prefix",
    AddressRow: "address",
    PoolRow: "asn-pool",
    AsnRow: "asn",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A row with the place in the source that it comes from.

    `loose` is one from a source that knows nothing of blocks: an address stands for the whole block that its prefix
    would hand out, and it is left out, rather than a conflict, where nothing hands it out. `silent` are the row's
    fields that the source says nothing of: they have their default in a new row, and stay as they are in another.
    """

    where: str
    row: Row
    loose: bool = False
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that the source says and that cannot be carried over."""

    where: str
    field: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Source:
    """All that a file wishes for, and what of it cannot be carried over."""

    wishes: Sequence[Wish]
    left_out: Sequence[LeftOut] = ()


class BadSource(IpamError):
    """The file cannot be read."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems[:_PROBLEMS_TOLD])
        if len(problems) > _PROBLEMS_TOLD:
            self.problems.append(f"and {len(problems) - _PROBLEMS_TOLD} more")
        super().__init__("; ".join(self.problems))


class BadValue(ValueError):
    """A value is not allowed; the text says what is."""


def shown(value: object) -> str:
    """A source's value for a message: quoted and no longer than needed to recognise it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]


def brief(value: object) -> str:
    """A source's value for a list: as it is, and no longer than needed to recognise it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def imported_owner(what: str) -> UUID:
    """The owner of what a source gives no owner: `what` is the row's name."""
    return uuid5(_NAMESPACE, what)


def default_block_length(role: str, cidr: Network) -> int:
    """The mask length of what a prefix of that role hands out when the source does not say."""
    if role == "container":
        return cidr.prefixlen
    return max(cidr.prefixlen, _BLOCKS.get((role, cidr.version), cidr.max_prefixlen))


def as_network(text: str) -> Network:
    """A block; an address is a block of one. Raises BadValue."""
    try:
        found = ip_network(text)
    except ValueError as err:
        raise BadValue(f"{shown(text)} is no block: {err}") from None
    if "%" in text:
        raise BadValue(f"{shown(text)} is no block: it names a zone")
    return found


def span(block: Network) -> tuple[int, int]:
    """The first and the last address as numbers; ipaddress computes the latter far more slowly."""
    first = int(block.network_address)
    return first, first + (1 << (block.max_prefixlen - block.prefixlen)) - 1


def as_role(text: str) -> str:
    """A role. Raises BadValue."""
    if text not in ROLES:
        raise BadValue(f"{shown(text)} is no role; allowed are {', '.join(ROLES)}")
    return text


def as_status(text: str) -> str:
    """A status that an import may set. Raises BadValue."""
    if text not in IMPORTABLE:
        raise BadValue(f"{shown(text)} is no status; allowed are {', '.join(IMPORTABLE)}")
    return text


def as_block_length(text: str, cidr: Network) -> int:
    """The mask length of what a prefix hands out. Raises BadValue."""
    found = as_number(text, cidr.max_prefixlen)
    if found < cidr.prefixlen:
        raise BadValue(
            f"{cidr} cannot be cut into blocks of /{found}; allowed are {cidr.prefixlen} to {cidr.max_prefixlen}"
        )
    return found


def as_number(text: str, largest: int) -> int:
    """A whole number from 0. Raises BadValue."""
    if not (text.isascii() and text.isdecimal()) or int(text[:20]) > largest:
        raise BadValue(f"{shown(text)} is no whole number from 0 to {largest}")
    return int(text)


def as_uuid(text: str) -> UUID:
    """An id. Raises BadValue."""
    try:
        return UUID(text)
    except ValueError:
        raise BadValue(f"{shown(text)} is no id (UUID)") from None


def as_owner(text: str) -> Owner:
    """Whose space a prefix is. Raises BadValue."""
    kind, _, id_ = text.partition(":")
    if kind == "organization":
        return Owner("organization", as_uuid(id_))
    if kind == "project":
        return Owner("project", as_uuid(id_))
    raise BadValue(f"{shown(text)} is no owner; allowed are organization:ID and project:ID")


def as_pool(name: str, first: int, last: int, facility: str | None) -> PoolRow:
    """A pool of AS numbers. Raises BadValue."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise BadValue(f"{shown(name)} is no name of a pool: letters a to z, digits and hyphens, 63 at most")
    if not 1 <= first <= last <= LAST_ASN:
        raise BadValue(f"{first}-{last} is no range of AS numbers; allowed are 1 to {LAST_ASN}")
    return PoolRow(name, first, last, facility)


def storable(value: object, depth: int = 0) -> None:
    """Raise BadValue for what PostgreSQL cannot store: NUL, half a surrogate pair, infinity, a tower of lists."""
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise BadValue(f"{shown(value)} holds NUL or half a surrogate pair")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise BadValue(f"{value} is no finite number")
    if isinstance(value, dict | list):
        if depth >= _DEPTH:
            raise BadValue(f"it is nested deeper than {_DEPTH} levels")
        for member in [*value, *value.values()] if isinstance(value, dict) else value:
            storable(member, depth + 1)

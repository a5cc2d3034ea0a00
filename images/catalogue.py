"""The catalogue of operating systems, read from `catalogue.toml` and checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any, Literal, get_args

from images.protocol import NetworkStyle

Engine = Literal["image", "native", "ipxe"]

_SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ARCHITECTURES = ("amd64", "arm64")


class BadCatalogue(ValueError):
    """An entry of the catalogue is not allowed."""


class UnknownSystem(KeyError):
    """The catalogue has no operating system of that slug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One operating system. The slug's form is the dialect's: distribution and version joined by underscores."""

    slug: str
    name: str
    distro: str
    version: str
    engine: Engine  # where an order names none
    engines: tuple[Engine, ...]  # all that an order may name
    architectures: tuple[str, ...]
    network: NetworkStyle  # which files tell the installed system its addresses
    default_user: str  # whom the order's SSH keys let in
    install_budget_s: int
    first_boot_budget_s: int

    @property
    def ignited(self) -> bool:
        """True for a system that nothing but Ignition configures: its root is made at the first boot."""
        return self.distro in ("coreos", "flatcar")


class Catalogue:
    """The operating systems by slug, in the file's order."""

    def __init__(self, systems: Mapping[str, System]) -> None:
        self._systems = systems

    def __iter__(self) -> Iterator[System]:
        return iter(self._systems.values())

    def __contains__(self, slug: str) -> bool:
        return slug in self._systems

    def get(self, slug: str) -> System:
        """The system of that slug. Raises UnknownSystem."""
        try:
            return self._systems[slug]
        except KeyError:
            raise UnknownSystem(slug) from None


def _system(values: Mapping[str, Any]) -> System:
    slug = values.get("slug", "")
    known = {field.name for field in fields(System)}
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise BadCatalogue(f"slug {slug!r}: allowed are lower-case words and digits joined by underscores")
    if wrong := set(values) ^ known:
        raise BadCatalogue(f"{slug}: missing or unknown keys {', '.join(sorted(wrong))}")
    if values["engine"] not in get_args(Engine):
        raise BadCatalogue(f"{slug}: engine {values['engine']!r}; allowed are {', '.join(get_args(Engine))}")
    for name, allowed in (("engines", get_args(Engine)), ("architectures", _ARCHITECTURES)):
        if not isinstance(values[name], list) or not values[name] or not all(one in allowed for one in values[name]):
            raise BadCatalogue(f"{slug}: {name} {values[name]!r}; allowed are lists of {', '.join(allowed)}")
    if values["engine"] not in values["engines"]:
        raise BadCatalogue(f"{slug}: engine {values['engine']!r} is none of its engines {', '.join(values['engines'])}")
    if values["network"] not in get_args(NetworkStyle):
        raise BadCatalogue(f"{slug}: network {values['network']!r}; allowed are {', '.join(get_args(NetworkStyle))}")
    for name in ("install_budget_s", "first_boot_budget_s"):
        if not isinstance(values[name], int) or values[name] <= 0:
            raise BadCatalogue(f"{slug}: {name} {values[name]!r} is no number of seconds above 0")
    lists = {name: tuple(values[name]) for name in ("engines", "architectures")}
    return System(**{**values, **lists})


def parse_catalogue(text: str) -> Catalogue:
    """The catalogue of a TOML text. Raises BadCatalogue, naming entry and key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise BadCatalogue(f"no TOML: {err}") from None
    systems: dict[str, System] = {}
    for values in document.get("system", []):
        system = _system({**document.get("defaults", {}), **values})
        if system.slug in systems:
            raise BadCatalogue(f"{system.slug} is listed twice")
        systems[system.slug] = system
    return Catalogue(systems)


def load_catalogue() -> Catalogue:
    """The catalogue that this program brings."""
    return parse_catalogue((files("images") / "catalogue.toml").read_text(encoding="utf-8"))

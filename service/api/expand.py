"""`include` and `exclude`: references become objects, objects become references."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from uuid import UUID

from service.api.links import target
from service.api.objects import Object

_DEPTH = 3
_PATHS = 32  # more names than any object has

Load = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Object]]]


def paths_of(values: Iterable[str]) -> list[list[str]]:
    """The paths of a parameter given with commas, repeated, or both."""
    paths = [part.strip().split(".")[:_DEPTH] for value in values for part in value.split(",") if part.strip()]
    return paths[:_PATHS]


def _references(owner: Object, name: str) -> list[Object]:
    value = owner.get(name)
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


async def include(objects: Sequence[Object], paths: Sequence[Sequence[str]], loaders: Mapping[str, Load]) -> None:
    """Fill in what the paths name, one look-up a kind and level. Unknown names, and what may not be seen, stay."""
    for path in paths:
        level = list(objects)
        for name in path:
            wanted: dict[str, set[UUID]] = {}
            for owner in level:
                for reference in _references(owner, name):
                    if set(reference) == {"href"} and (found := target(reference["href"])) and found[0] in loaders:
                        wanted.setdefault(found[0], set()).add(found[1])
            loaded = {kind: await loaders[kind](list(ids)) for kind, ids in wanted.items()}
            level = [child for owner in level for child in _filled(owner, name, loaded)]


def _filled(owner: Object, name: str, loaded: Mapping[str, Mapping[UUID, Object]]) -> list[Object]:
    def whole(reference: object) -> object:
        if not isinstance(reference, dict) or set(reference) != {"href"}:
            return reference
        kind, id_ = target(reference["href"]) or ("", None)
        return reference if id_ is None else loaded.get(kind, {}).get(id_, reference)

    value = owner.get(name)
    if isinstance(value, dict):
        owner[name] = whole(value)
    elif isinstance(value, list):
        owner[name] = [whole(one) for one in value]
    return _references(owner, name)


def exclude(objects: Sequence[Object], paths: Sequence[Sequence[str]]) -> None:
    """Cut what the paths name down to references."""
    for path in paths:
        level = list(objects)
        for name in path[:-1]:
            level = [child for owner in level for child in _references(owner, name)]
        for owner in level:
            value = owner.get(path[-1])
            if isinstance(value, dict) and value.get("href"):
                owner[path[-1]] = {"href": value["href"]}
            elif isinstance(value, list):
                owner[path[-1]] = [
                    {"href": one["href"]} if isinstance(one, dict) and one.get("href") else one for one in value
                ]

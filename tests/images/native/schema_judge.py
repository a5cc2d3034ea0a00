"""Judges by published JSON schemas, and by what those leave open: keys that nothing knows, and curtin's storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

jsonschema: Any = pytest.importorskip("jsonschema", reason="needs jsonschema (extra dev)")


class Judge:
    """One schema."""

    def __init__(self, path: Path) -> None:
        self.schema: dict[str, Any] = json.loads(path.read_text())
        self._validator = jsonschema.validators.validator_for(self.schema)(self.schema)

    def complaints(self, value: object) -> list[str]:
        """What it finds wrong."""
        return [
            f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in self._validator.iter_errors(value)
        ]


def unknown_keys(schema: dict[str, Any], value: object, where: str = "") -> Iterator[str]:
    """Keys that a schema which allows every key does not list; schemas that list none are passed over."""
    listed = schema.get("properties")
    if isinstance(value, dict) and listed:
        for key, inner in value.items():
            if key in listed:
                yield from unknown_keys(listed[key], inner, f"{where}/{key}")
            else:
                yield f"{where}/{key}"
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            yield from unknown_keys(schema["items"], item, f"{where}[]")


# curtin's storage actions: keys that must be there, keys that may be, and which of them name other actions.
_ACTIONS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "disk": ({"path"}, {"ptable", "wipe", "preserve", "grub_device"}, set()),
    "partition": (
        {"device", "size", "number"},
        {"flag", "wipe", "preserve", "grub_device"},
        {"device"},
    ),
    "format": ({"volume", "fstype"}, {"preserve"}, {"volume"}),
    "mount": ({"device", "path"}, set(), {"device"}),
    "raid": ({"name", "raidlevel", "devices"}, {"preserve"}, {"devices"}),
    "dm_crypt": ({"volume", "dm_name", "key"}, {"preserve"}, {"volume"}),
    "lvm_volgroup": ({"name", "devices"}, {"preserve"}, {"devices"}),
    "lvm_partition": ({"name", "volgroup", "size"}, {"wipe", "preserve"}, {"volgroup"}),
}
_FLAGS = {"bios_grub", "boot"}
_ROOTS = {"partition", "raid", "dm_crypt", "lvm_partition"}
_MEMBERS = {1: 2, 10: 4}


def storage_complaints(config: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a list of curtin's storage actions: unknown words, loose references, sizes that cannot be."""
    said: list[str] = []
    known: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for action in config:
        kind, id_ = action["type"], action["id"]
        if id_ in known:
            said.append(f"{id_} is there twice")
        if kind not in _ACTIONS:
            said.append(f"{id_}: no action {kind}")
            continue
        must, may, references = _ACTIONS[kind]
        said += [f"{id_}: {key} is missing" for key in must - set(action)]
        said += [f"{id_}: unknown {key}" for key in set(action) - must - may - {"type", "id"}]
        for key in references & set(action):
            named = action[key] if isinstance(action[key], list) else [action[key]]
            said += [f"{id_}: {key} {name} comes later or never" for name in named if name not in known]
            if kind not in ("partition", "mount"):  # one disk has many partitions
                said += [f"{id_}: {name} is used twice" for name in named if name in used]
                used.update(named)
        known[id_] = action
        said += _own_complaints(action, known)
    said += _disk_complaints(config)
    said += [f"nothing is mounted at {path}" for path in {"/", "/boot/efi"} - {a.get("path") for a in config}]
    return said


def _own_complaints(action: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[str]:
    kind, id_ = action["type"], action["id"]
    if kind == "partition" and action.get("flag", "boot") not in _FLAGS:
        return [f"{id_}: flag {action['flag']}"]
    if kind == "raid":
        members = [known[name]["device"] for name in action["devices"]]
        few = len(members) < _MEMBERS.get(action["raidlevel"], 99)
        return [f"{id_}: {members} for level {action['raidlevel']}"] if few or len(set(members)) < len(members) else []
    if kind == "mount" and known[action["device"]]["type"] != "format":
        return [f"{id_}: {action['device']} is no file system"]
    if kind == "format" and known[action["volume"]]["type"] not in _ROOTS:
        return [f"{id_}: {action['volume']} cannot be formatted"]
    return []


def _disk_complaints(config: list[dict[str, Any]]) -> list[str]:
    said = []
    for disk in (action for action in config if action["type"] == "disk"):
        parts = [action for action in config if action["type"] == "partition" and action["device"] == disk["id"]]
        if [part["number"] for part in parts] != list(range(1, len(parts) + 1)):
            said.append(f"{disk['id']}: partitions are numbered {[part['number'] for part in parts]}")
        said += [f"{part['id']}: only the last takes the rest" for part in parts[:-1] if part["size"] <= 0]
        said += [
            f"{part['id']}: {part['size']} bytes" for part in parts if part["size"] % (1 << 20) and part["size"] != -1
        ]
        if {part.get("flag") for part in parts} < _FLAGS:
            said.append(f"{disk['id']}: does not start by BIOS and UEFI")
    return said

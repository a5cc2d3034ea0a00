"""One object of NetBox's JSON: fields are read from it, and what nobody has read is told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipam.exchange.rows import BadValue, LeftOut, brief, shown

OURS = "roundhouse_"  # how our custom fields' names begin

# What follows from something else, or tells nothing of the address space.
_DERIVED = frozenset(
    {
        "_depth",
        "aggregate",
        "asn_count",
        "assigned_object_id",
        "assigned_object_type",
        "children",
        "created",
        "custom_fields",
        "display",
        "display_url",
        "family",
        "id",
        "ipaddress_count",
        "last_updated",
        "nat_outside",
        "prefix_count",
        "provider_count",
        "scope",
        "scope_id",
        "scope_type",
        "site_count",
        "size",
        "slug",
        "url",
    }
)
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False)
_NO_FIELD = "there is no such field here"
_WHY: Mapping[str, str] = {
    "vlan": "VLANs are not kept here",
    "is_pool": "the first and the last address are handed out in any case",
    "mark_utilized": "use is counted, not said",
    "rir": "registries are not kept here",
    "nat_inside": "translations of addresses are not kept here",
    "rd": "VRFs have a name only",
    "tenant": "only prefixes have an owner",
}


class Item:
    """One object of a section: what was read of it, and what is left over."""

    def __init__(self, where: str, item: Mapping[str, Any], left_out: list[LeftOut]) -> None:
        self.where = where
        self._item = item
        self._left_out = left_out
        self._read: set[str] = set()
        fields = item.get("custom_fields") or {}
        self._custom: Mapping[str, Any] = fields if isinstance(fields, dict) else {}

    def get(self, field: str) -> Any:
        """A field's value."""
        self._read.add(field)
        return self._item.get(field)

    def text(self, field: str) -> str:
        """A field's text; nothing for null. Raises BadValue."""
        value = self.get(field)
        if value is None or isinstance(value, str):
            return value or ""
        raise BadValue(f"{field}: {shown(value)} is no text")

    def choice(self, field: str) -> str:
        """A field with choices: NetBox answers with value and label, and takes the value alone. Raises BadValue."""
        value = self.get(field)
        value = value.get("value") if isinstance(value, dict) else value
        if value is None or isinstance(value, str):
            return value or ""
        raise BadValue(f"{field}: {shown(value)} is no choice")

    def nested(self, field: str, name: str) -> str | None:
        """One field of a nested object; None for null. Raises BadValue."""
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, dict) and isinstance(value.get(name), str):
            return str(value[name])
        raise BadValue(f"{field}: {shown(value)} is no nested object with its {name}")

    def names(self, field: str) -> str:
        """The names of a list of nested objects, with commas between them. Raises BadValue."""
        value = self.get(field) or []
        if not isinstance(value, list):
            raise BadValue(f"{field}: {shown(value)} is no list")
        return ", ".join(str(one.get("name") or one.get("display")) for one in value if isinstance(one, dict))

    def ours(self, field: str, parse: Callable[[str], Any]) -> Any:
        """One of our custom fields; None when it is not given. Raises BadValue."""
        value = self._custom.get(OURS + field)
        if value is None or value == "":
            return None
        try:
            return parse(str(value))
        except BadValue as err:
            raise BadValue(f"custom_fields.{OURS}{field}: {err}") from None

    def ours_object(self, field: str) -> Mapping[str, Any]:
        """One of our custom fields that is an object; empty when it is not given. Raises BadValue."""
        value = self._custom.get(OURS + field) or {}
        if isinstance(value, dict):
            return value
        raise BadValue(f"custom_fields.{OURS}{field}: {shown(value)} is no object")

    def leave(self, field: str, value: object, why: str) -> None:
        """Tell that something is not carried over."""
        self._left_out.append(LeftOut(self.where, field, brief(value), why))

    def leave_rest(self) -> None:
        """Tell what nobody has read, as far as it says anything."""
        for field, value in self._item.items():
            if field not in self._read and field not in _DERIVED and value not in _EMPTY:
                named = value.get("name") or value.get("value") if isinstance(value, dict) else value
                self.leave(field, named or value, _WHY.get(field, _NO_FIELD))
        for field, value in self._custom.items():
            if not field.startswith(OURS) and value not in _EMPTY:
                self.leave(f"custom_fields.{field}", value, _NO_FIELD)

"""What joins a leaf to the rest, as an operator says it: refused with the field and the value, or taken as it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from service.leaves.fabric import FabricEntry

GOOD: dict[str, Any] = {
    "asn": 4_200_012_001,
    "loopback": ["10.255.255.12/32", "2001:db8:ffff::12/128"],
    "uplinks": [
        {
            "name": "et-0/0/49",
            "address": "10.255.0.3/31",
            "peer": "10.255.0.2",
            "peer_as": 64_513,
            "description": "spine2",
        },
        {
            "name": "et-0/0/48",
            "address": "2001:db8:1::1/127",
            "peer": "2001:db8:1::",
            "peer_as": 1,
            "description": "spine1",
        },
        {"name": "et-0/0/48", "address": "10.255.0.1/31", "peer": "10.255.0.0", "peer_as": 1, "description": "spine1"},
    ],
    "management": ["192.0.2.0/24"],
}


def test_it_is_taken_as_it_was_said_in_one_order() -> None:
    fabric = FabricEntry.model_validate(GOOD).desired()
    assert [(one.name, one.leaf.version, str(one.peer)) for one in fabric.uplinks] == [
        ("et-0/0/48", 4, "10.255.0.0"),
        ("et-0/0/48", 6, "2001:db8:1::"),
        ("et-0/0/49", 4, "10.255.0.2"),
    ]
    again = FabricEntry.model_validate(FabricEntry.model_validate(GOOD).model_dump(mode="json"))
    assert again.desired() == fabric


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["asn"], 0, "greater than or equal to 1"),
        (["asn"], 2**32, "less than or equal to"),
        (["loopback"], [], "at least 1"),
        (["loopback", 0], "10.255.255.12/24", "no single address"),
        (["uplinks", 0, "name"], "et-0/0/49.0", "match pattern"),
        (["uplinks", 0, "peer"], "10.255.0.3", "no other address of 10.255.0.2/31"),
        (["uplinks", 0, "peer"], "10.255.0.4", "no other address of 10.255.0.2/31"),
        (["uplinks", 0, "name"], "et-0/0/48", "named twice with IPv4"),
        (["uplinks", 0, "description"], 'spine"; }', "match pattern"),
        (["management", 0], "192.0.2.1/24", "not a valid IPv4 network"),
        (["vlan"], 7, "not permitted"),
    ],
)
def test_what_is_wrong_is_named(path: list[Any], value: object, said: str) -> None:
    wrong: Any = deepcopy(GOOD)
    inner = wrong
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(ValidationError, match=said):
        FabricEntry.model_validate(wrong)

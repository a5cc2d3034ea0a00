"""What changed in a machine since it was last seen, and what LLDP says of its cable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inventories import cable_finding, changes, merged

DISK = {
    "path": "/dev/nvme0n1",
    "bytes": 960_000_000_000,
    "serial": "S1",
    "model": "PM9A3",
    "health": {"media_errors": 0},
}
DIMM = {"socket": "A1", "bytes": 32 << 30, "serial": "D1", "part": "M393"}
NIC = {"name": "eth0", "mac": "02:00:00:00:00:01", "speed_mbps": 25_000}
WHOLE: dict[str, Any] = {
    "disks": [DISK],
    "nics": [NIC],
    "memory_bytes": 64 << 30,
    "smbios": {"dimms": [DIMM, {**DIMM, "socket": "A2", "serial": "D2"}]},
    "system": {"bios_version": "3.4"},
    "bmc": {"present": True, "firmware": "1.20"},
}


@pytest.mark.parametrize(
    ("part", "sentences"),
    [
        ({}, []),
        ({"disks": []}, ["disk /dev/nvme0n1 (PM9A3, S1, 960 GB) is gone"]),
        ({"disks": [{**DISK, "path": "/dev/nvme7n1"}]}, []),
        (
            {"disks": [{**DISK, "health": {"media_errors": 3, "warnings": ["spare"]}}]},
            [
                "disk /dev/nvme0n1 (PM9A3, S1, 960 GB) has 3 media errors, 0 before",
                "disk /dev/nvme0n1 (PM9A3, S1, 960 GB) warns of spare",
            ],
        ),
        ({"smbios": {"dimms": [DIMM]}}, ["memory module A2 (32 GiB, M393, D2) is gone"]),
        (
            {"smbios": {"dimms": [DIMM, {**DIMM, "socket": "A2", "serial": "D3"}]}},
            ["memory module A2 (32 GiB, M393, D2) was exchanged for A2 (32 GiB, M393, D3)"],
        ),
        ({"memory_bytes": 32 << 30}, ["memory is 32.0 GiB, 64.0 before"]),
        ({"memory_bytes": (64 << 30) - 5_000_000}, []),
        (
            {"nics": [{**NIC, "speed_mbps": 10_000}]},
            ["network card eth0 (02:00:00:00:00:01) runs at 10000 Mbit/s, 25000 before"],
        ),
        ({"nics": [{**NIC, "speed_mbps": 0}]}, []),
        ({"system": {"bios_version": "3.5"}}, ["the board's firmware is 3.5, 3.4 before"]),
        ({"bmc": {"present": False}}, ["the BMC is gone"]),
        ({"disks": "none", "nics": [7], "smbios": [], "memory_bytes": "much"}, None),
    ],
    ids=[
        *("nothing", "disk gone", "another path", "disk worse", "module gone", "module exchanged", "memory", "slack"),
        *("slower", "no link", "firmware", "no BMC", "junk"),
    ],
)
def test_each_difference_is_a_sentence(part: dict[str, Any], sentences: list[str] | None) -> None:
    found = changes(WHOLE, merged(WHOLE, part))
    assert sentences is None or found == sentences


def test_what_was_not_told_before_is_no_difference() -> None:
    assert changes({}, WHOLE) == []
    assert changes({"disks": [DISK]}, WHOLE) == []


EXPECTED = "m1 (02:00:00:00:00:01): expected leaf1 xe-0/0/1, LLDP shows "
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WHOLE, *DISK, *DIMM, *NIC, "dimms", "lldp"]), inner, max_size=4)
    ),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.sampled_from([*WHOLE, "lldp"]), _JSON, max_size=4)


@given(_OBJECTS, _OBJECTS)
def test_anything_may_be_told(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert all(isinstance(one, str) for one in changes(before, merged(before, now)))
    assert changes(now, now) == []
    cable_finding(now, machine="m1", mac="02:00:00:00:00:01", leaf="leaf1", port="xe-0/0/1")


@pytest.mark.parametrize(
    ("told", "finding"),
    [
        ({"system": "leaf1", "port": "xe-0/0/1"}, None),
        ({"system": "leaf1.example.net", "port": "xe-0/0/1.0"}, None),
        ({"system": "leaf1", "port": "517", "port_description": "xe-0/0/1"}, None),
        ({"system": "leaf1", "port": "517"}, None),
        ({"system": "leaf1", "port": "xe-0/0/2"}, f"{EXPECTED}leaf1 xe-0/0/2"),
        ({"system": "leaf2", "port": "517"}, f"{EXPECTED}leaf2 517"),
        ({"chassis": "02:aa", "port": "xe-0/0/2"}, f"{EXPECTED}02:aa xe-0/0/2"),
    ],
    ids=["right", "full names", "by description", "a number alone", "another port", "another leaf", "no name"],
)
def test_the_cables_other_end_is_compared_with_the_record(told: dict[str, str], finding: str | None) -> None:
    told = {"mac": "02:00:00:00:00:01", **told}
    other = {"mac": "02:00:00:00:00:02", "system": "leaf9", "port": "ge-0/0/0"}
    where = {"machine": "m1", "mac": "02:00:00:00:00:01", "leaf": "leaf1", "port": "xe-0/0/1"}
    assert cable_finding({"lldp": [other, told]}, **where) == finding

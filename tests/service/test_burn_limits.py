"""A burn-in's figures against their limits."""

from __future__ import annotations

from typing import Any

import pytest

from service.burn_limits import LIMITS, findings

DISK = {"path": "/dev/sda", "serial": "S1", "errors": 0, "first_error": ""}
DISK |= {"write_bytes_per_s": 110e6, "read_bytes_per_s": 150e6}
GOOD: dict[str, Any] = {
    "cpu": {"wrong": 0, "temperature_c": 70.5},
    "memory": {"errors": 0, "uncorrected": 0, "corrected": 0, "bytes_per_s": 9e9},
    "disks": [DISK],
    "network": {"errors": 0, "link_errors": 0, "download_bytes_per_s": 1.1e9, "upload_bytes_per_s": 1e9},
}


def test_each_limit_has_a_figure_and_says_which_way_it_goes() -> None:
    assert findings(GOOD, {}) == []
    assert findings({}, {}) == []
    assert all(limit.name.endswith(("_max", "_min")) for limit in LIMITS)


@pytest.mark.parametrize(
    ("part", "figures", "limits", "finding"),
    [
        ("cpu", {"wrong": 2}, {}, "wrong results of the processors: 2, at most 0 is allowed"),
        ("cpu", {"temperature_c": 99}, {}, "the processors' temperature: 99 °C, at most 98 °C is allowed"),
        (
            "cpu",
            {"temperature_c": 71},
            {"cpu_temperature_c_max": 70},
            "the processors' temperature: 71 °C, at most 70 °C",
        ),
        ("memory", {"errors": 3}, {}, "MiB of memory that lost what was written: 3, at most 0 is allowed"),
        ("memory", {"bytes_per_s": 1e9}, {"memory_mbps_min": 4000}, "the memory's rate: 1000 MB/s, at least 4000 MB/s"),
        ("network", {"download_bytes_per_s": 1e8}, {"network_download_mbps_min": 900}, "100 MB/s, at least 900 MB/s"),
        ("network", {"errors": "many"}, {}, "transfers that broke: the agent told nothing"),
    ],
    ids=["wrong", "hot", "hot for the plan", "memory", "slow memory", "slow network", "junk"],
)
def test_what_is_beyond_its_limit_is_told_with_both(
    part: str, figures: dict[str, Any], limits: dict[str, float], finding: str
) -> None:
    [found] = findings(GOOD | {part: GOOD[part] | figures}, limits)
    assert finding in found


def test_disks_are_told_apart() -> None:
    slow = DISK | {"path": "/dev/sdb", "serial": "", "read_bytes_per_s": 20e6}
    broken = DISK | {"path": "/dev/sdc", "errors": 1, "first_error": "at 4096: Input/output error"}
    assert findings({"disks": [DISK, slow, broken]}, {"disk_read_mbps_min": 100}) == [
        "/dev/sdc (S1), errors: 1 (at 4096: Input/output error), at most 0 is allowed",
        "/dev/sdb (no serial number), reading: 20 MB/s, at least 100 MB/s is allowed",
    ]

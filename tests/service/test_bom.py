"""Bills of materials and what is found at free ports: each difference is a sentence, and the most exact plan counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.advice import advice
from service.bom import Fit, best, bom_from, bom_of, bytes_of, held_against
from service.newcomers import Found, Known, Place, alive, name_for, objection
from service.power.finding import System, urls_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SPECS: dict[str, Any] = {
    "cpus": [{"count": 2, "type": "Intel Xeon E5-2650 v4 @ 2.2GHz"}],
    "memory": {"total": "256GB"},
    "drives": [{"count": 2, "size": "480GB", "type": "SSD"}, {"count": 1, "size": "1.6TB", "type": "NVME"}],
    "nics": [{"count": 2, "type": "10Gbps"}],
    "arch": "amd64",
}
SYSTEM: dict[str, Any] = {
    "architecture": "x86_64",
    "system": {"product_serial": "S1", "product_uuid": "4c4c4544-0001"},
    "cpu": {"model": "Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz", "packages": 2, "cores": 24},
    "memory_bytes": 264_000_000_000,
    "disks": [
        {"path": "/dev/sda", "bytes": 480_103_981_056, "rotational": False},
        {"path": "/dev/sdb", "bytes": 480_103_981_056, "rotational": False},
        {"path": "/dev/nvme0n1", "bytes": 1_600_321_314_816, "rotational": False},
    ],
    "nics": [{"name": "eth0", "mac": "02:01", "speed_mbps": 10_000}, {"name": "eth1", "mac": "02:02", "speed_mbps": 0}],
}
PLACE = Place("ewr1", "leaf1", "xe-0/0/7", "R1", 3, None, None)


def differences(**changed: Any) -> tuple[str, ...]:
    """What the machine with these parts lacks of the plan."""
    return held_against("p", bom_of(SPECS), SYSTEM | changed).differences


@pytest.mark.parametrize(
    ("size", "binary", "there"),
    [
        ("480GB", False, 480 * 10**9),
        ("1.6TB", False, 1_600_000_000_000),
        ("32GB", True, 32 << 30),
        ("many", True, None),
    ],
)
def test_sizes(size: str, binary: bool, there: int | None) -> None:
    assert bytes_of(size, binary=binary) == there


def test_a_machine_that_is_as_its_plan_says_differs_in_nothing() -> None:
    assert differences() == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architecture": "aarch64"}, "its architecture is arm64, not amd64"),
        (
            {"cpu": SYSTEM["cpu"] | {"model": "Intel(R) Xeon(R) CPU E5-2650 v3 @ 2.20GHz"}},
            "its processor is Intel(R) Xeon(R) CPU E5-2650 v3 @ 2.20GHz, not Intel Xeon E5-2650 v4 @ 2.2GHz",
        ),
        ({"cpu": SYSTEM["cpu"] | {"packages": 1}}, "it has 1 processors, not 2"),
        ({"memory_bytes": 128 << 30}, "it has 128.0 GiB of memory, not 256.0"),
        ({"disks": SYSTEM["disks"][1:]}, "it has 1 of 2 ssd disks of 480 GB"),
        (
            {"disks": [*SYSTEM["disks"], {"path": "/dev/sdc", "bytes": 10**12, "rotational": True}]},
            "/dev/sdc (hdd, 1000 GB) is one disk too many",
        ),
        ({"nics": SYSTEM["nics"][:1]}, "it has 1 network cards, not 2"),
        ({"nics": [{"speed_mbps": 1000}] * 2}, "its fastest link runs at 1000 Mbit/s, not 10000"),
    ],
    ids=["arch", "cpu", "sockets", "memory", "disk-missing", "disk-more", "cards", "speed"],
)
def test_each_part_that_differs_is_a_sentence(changed: dict[str, Any], said: str) -> None:
    assert differences(**changed) == (said,)


@given(
    st.lists(
        st.tuples(st.sampled_from(["/dev/sda", "/dev/nvme0n1", "/dev/vdb"]), st.integers(1, 10**14), st.booleans()),
        max_size=6,
    ),
    st.integers(1, 10**13),
    st.lists(st.integers(0, 400_000), max_size=4),
)
def test_every_machine_fits_the_bill_that_was_made_of_it(
    disks: list[tuple[str, int, bool]], memory: int, speeds: list[int]
) -> None:
    inventory = {
        "cpu": {"model": "some", "packages": 1, "cores": 8},
        "memory_bytes": memory,
        "disks": [{"path": path, "bytes": size, "rotational": rotational} for path, size, rotational in disks],
        "nics": [{"speed_mbps": speed} for speed in speeds],
    }
    assert held_against("p", bom_from(inventory), inventory).differences == ()


@given(
    st.dictionaries(st.sampled_from([*SYSTEM, "smbios"]), st.one_of(st.none(), st.integers(), st.text(), st.just([7])))
)
def test_whatever_a_stranger_tells_is_borne(told: dict[str, Any]) -> None:
    held_against("p", bom_of(SPECS), told)
    bom_from(told)
    System("u", "s", "u", ("02:01",)).same(told)


def test_the_plan_that_tells_most_counts_and_a_tie_is_nobodys() -> None:
    assert best([Fit("a", (), 3), Fit("b", (), 9), Fit("c", ("it differs",), 12)]) == ("b", "")
    assert best([Fit("a", (), 9), Fit("b", (), 9)])[0] is None
    none, why = best([Fit("a", ("one", "two"), 9), Fit("b", ("only this",), 3)])
    assert (none, why) == (None, "it fits no plan; nearest is b: only this (and 1 plans that fit less)")
    assert best([])[0] is None


def found(mac: str = "02:01", *, ago: float = 1, **told: Any) -> Found:
    """A card that was heard so many seconds ago."""
    return Found(mac, SYSTEM | told, NOW - timedelta(seconds=60), NOW - timedelta(seconds=ago))


def test_who_fell_silent_is_not_there() -> None:
    assert alive([found(ago=46), found("02:09")], NOW) == [found("02:09")]
    assert objection([], PLACE, []) == "leaf1 xe-0/0/7: what was found there has fallen silent"


def test_what_the_leaf_sees_has_to_be_one_of_the_machines_cards() -> None:
    def seen(mac: str, ago: float) -> Place:
        return Place("ewr1", "leaf1", "xe-0/0/7", None, None, mac, NOW - timedelta(seconds=ago))

    assert objection([found()], seen("02:02", 1), []) is None
    assert objection([found()], seen("02:77", 1), []) == (
        "leaf1 xe-0/0/7: 02:01 says hello there, and the leaf sees 02:77"
    )
    assert objection([found()], seen("02:77", 3600), []) is None, "that was before it came"


def test_what_is_on_record_elsewhere_is_named() -> None:
    known = Known("m1", "02:01", False, "leaf2 xe-0/0/1", "network card 02:01")
    assert objection([found()], PLACE, [known]) == (
        "leaf1 xe-0/0/7: by its network card 02:01 this is m1, which is recorded at leaf2 xe-0/0/1"
    )


@pytest.mark.parametrize(
    ("schemes", "name"),
    [
        ("{facility}-{rack}-{unit}|{leaf}-{port}", "ewr1-r1-u03"),
        ("{leaf}-{port}", "leaf1-xe-0-0-7"),
        ("{colour}|{serial}", "s1"),
        ("{colour}", None),
        ("fixed", None),
    ],
)
def test_names(schemes: str, name: str | None) -> None:
    assert name_for(schemes, PLACE, "S1") == name


def test_a_bmc_is_known_by_any_of_what_it_tells() -> None:
    assert System("u", "", "", ("02:02",)).same(SYSTEM) is True
    assert System("u", "s1", "", ("02:77",)).same(SYSTEM) is True
    assert System("u", "", "4C4C4544-0001", ()).same(SYSTEM) is True
    assert System("u", "S2", "", ("02:77",)).same(SYSTEM) is False
    assert System("u", "", "", ()).same(SYSTEM) is None


def test_where_bmcs_are_looked_for() -> None:
    from ipaddress import ip_network

    assert urls_of("https://one", "10.0.0.9", None) == ["https://one"]
    assert urls_of("https://{address}", "0.0.0.0", ip_network("10.0.0.0/30")) == [
        "https://10.0.0.1",
        "https://10.0.0.2",
    ]
    assert urls_of("https://{address}", "10.0.0.9", None) == ["https://10.0.0.9"]
    assert len(urls_of("https://{address}", "", ip_network("2001:db8::/64"))) == 1024


def test_advice() -> None:
    assert (advice("quarantined", "burn-in: errors", None) or "").startswith("Read `roundhouse machine work`")
    assert (advice("quarantined", "who knows", None) or "").startswith("Read the reason")
    assert advice("ready", None, None) is None

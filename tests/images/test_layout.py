"""Plans of disk layouts: over sets of disks and wishes, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent import gpt, layout
from images.chunks import Partition
from images.protocol import DiskHint, Storage

GIB = 1 << 30
MIB = 1 << 20
ROOT_BYTES = 700 * MIB
PIECES = [
    Partition(1, MIB, MIB, gpt.BIOS_BOOT, "bios"),
    Partition(2, 2 * MIB, 64 * MIB, gpt.ESP, "esp", "vfat", "ABCD-0123"),
    Partition(3, 66 * MIB, ROOT_BYTES, gpt.LINUX_ROOT, "root", "ext4", "0b5c9f2e-0000-4000-8000-000000000001"),
]
IMAGE_BYTES = 767 * MIB


@dataclass
class Disk:
    path: str
    bytes: int
    serial: str = ""
    rotational: bool = False
    sector: int = 512


def uuids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012x}"


def storage(*hints: DiskHint, raid: str = "none", lvm: bool = False, passphrase: str = "") -> Storage:
    return {"disks": list(hints), "raid": raid, "lvm": lvm, "passphrase": passphrase}  # type: ignore[typeddict-item]


def made(found: list[Disk], wish: Storage, firmware: str = "uefi") -> layout.Plan:
    return layout.plan(found, wish, PIECES, IMAGE_BYTES, firmware=firmware, new_uuid=uuids())


disks = st.lists(
    st.tuples(
        st.sampled_from([2 * GIB, 8 * GIB, 8 * GIB + 512 * 7, 240_057_409_536, 1 << 43]),
        st.booleans(),
        st.sampled_from([512, 4096]),
        st.sampled_from(["sd", "nvme"]),
    ),
    min_size=1,
    max_size=7,
).map(
    lambda rows: [
        Disk(
            f"/dev/nvme{number}n1" if kind == "nvme" else f"/dev/sd{chr(97 + number)}",
            size // sector * sector,
            f"S{number}",
            rotational,
            sector,
        )
        for number, (size, rotational, sector, kind) in enumerate(rows)
    ]
)
hints = st.fixed_dictionaries(
    {},
    optional={
        "serial": st.sampled_from(["S0", "S1", "S2", "S9"]),
        "type": st.sampled_from(["nvme", "ssd", "hdd"]),
        "min_bytes": st.sampled_from([GIB, 100 * GIB]),
        "max_bytes": st.sampled_from([8 * GIB, 1 << 42]),
    },
)
wishes = st.fixed_dictionaries(
    {
        "disks": st.lists(hints, max_size=5),
        "raid": st.sampled_from(["none", "1", "10"]),
        "lvm": st.booleans(),
        "passphrase": st.sampled_from(["", "correct horse"]),
    }
)


@given(disks, wishes, st.sampled_from(["bios", "uefi"]))
def test_a_plan_keeps_to_its_disks(found: list[Disk], wish: Storage, firmware: str) -> None:
    try:
        plan = made(found, wish, firmware)
    except layout.NoLayout as refusal:
        assert str(refusal)
        return
    by_path = {disk.path: disk for disk in found}
    assert len(set(plan.paths)) == len(plan.paths)
    assert set(plan.paths) | set(plan.others) == set(by_path)
    assert not set(plan.paths) & set(plan.others)
    if wish["disks"]:
        assert len(plan.paths) == len(wish["disks"])
        for path, hint in zip(plan.paths, wish["disks"], strict=True):
            assert layout.fits(by_path[path], hint)
    if firmware == "bios":
        assert all(by_path[path].sector == 512 for path in plan.paths)
    if plan.whole:
        assert by_path[plan.whole].bytes >= IMAGE_BYTES
        assert not (wish["lvm"] or wish["passphrase"] or wish["raid"] != "none")
        return
    guids = [disk.guid for disk in plan.disks] + [part.guid for disk in plan.disks for part in disk.partitions]
    guids += [array.uuid for array in plan.arrays] + ([plan.crypt.uuid] if plan.crypt else [])
    assert len(set(guids)) == len(guids)
    for disk in plan.disks:
        pieces = gpt.encode(disk.bytes, disk.sector, disk.guid, disk.partitions)  # refuses what does not fit
        assert pieces[-1][0] + len(pieces[-1][1]) == disk.bytes
        ends = [MIB, *(part.end for part in disk.partitions)]
        assert all(part.start >= end for part, end in zip(disk.partitions, ends, strict=False))
        assert all(part.start % MIB == 0 for part in disk.partitions)
    _check_use(plan, wish)


def _check_use(plan: layout.Plan, wish: Storage) -> None:
    """Each partition behind the ESP has one use, each array equal members, and the root has room."""
    last = plan.disks[0].partitions[-1]
    assert all(
        [part.bytes for part in disk.partitions] == [part.bytes for part in plan.disks[0].partitions]
        for disk in plan.disks
    )
    users = [member for array in plan.arrays for member in array.members]
    users += [plan.crypt.device] if plan.crypt else []
    users += [plan.group.device] if plan.group else []
    users += [plan.root, *([plan.boot] if plan.boot else [])]
    assert len(set(users)) == len(users)
    behind = {disk.device(part.number) for disk in plan.disks for part in disk.partitions if part.number > 2}
    assert behind <= set(users)
    room = last.bytes * (len(plan.disks) // 2 if wish["raid"] == "10" else 1)
    assert room >= ROOT_BYTES
    assert bool(plan.boot) == (wish["lvm"] or bool(wish["passphrase"]) or wish["raid"] == "10")
    third = plan.boot or plan.root
    for array in plan.arrays:
        if array.path == third:  # GRUB reads its members as if there were no RAID
            assert (array.level, array.metadata) == ("1", "1.0")
            assert array.members == tuple(disk.device(3) for disk in plan.disks)


def test_without_hints_the_smallest_that_do_and_solid_state_first() -> None:
    found = [
        Disk("/dev/sda", 4000 * GIB, rotational=True),
        Disk("/dev/sdb", 480 * GIB),
        Disk("/dev/sdc", 240 * GIB),
        Disk("/dev/sdd", 480 * GIB),
        Disk("/dev/sde", MIB),
    ]
    assert made(found, storage()).paths == ["/dev/sdc"]
    assert made(found, storage(raid="1")).paths == ["/dev/sdb", "/dev/sdd"]
    assert made(found[:1], storage()).paths == ["/dev/sda"]


def test_a_hint_gives_way_to_one_that_can_do_with_nothing_else() -> None:
    found = [Disk("/dev/sda", 8 * GIB, "A"), Disk("/dev/sdb", 8 * GIB, "B")]
    assert made(found, storage({"type": "ssd"}, {"serial": "A"}, raid="1")).paths == ["/dev/sdb", "/dev/sda"]


def test_encrypted_volumes_on_a_mirror_are_stacked_in_that_order() -> None:
    found = [Disk("/dev/nvme0n1", 8 * GIB), Disk("/dev/nvme1n1", 8 * GIB)]
    plan = made(found, storage(raid="1", lvm=True, passphrase="x"))
    boot, system = plan.arrays
    assert (boot.members, system.members) == (
        ("/dev/nvme0n1p3", "/dev/nvme1n1p3"),
        ("/dev/nvme0n1p4", "/dev/nvme1n1p4"),
    )
    assert plan.crypt and plan.crypt.device == system.path
    assert plan.group and plan.group.device == plan.crypt.path
    assert plan.root == plan.group.root == plan.root_source


def test_sectors_of_4096_bytes_get_a_table_of_their_own() -> None:
    plan = made([Disk("/dev/sda", 8 * GIB, sector=4096)], storage())
    assert not plan.whole
    assert [part.number for part in plan.disks[0].partitions] == [1, 2, 3]
    assert plan.root == "/dev/sda3"


@pytest.mark.parametrize(
    ("found", "wish", "words"),
    [
        pytest.param([], storage(), r"a disk of \d+ bytes or more wanted; found: none", id="no-disk"),
        pytest.param(
            [Disk("/dev/sda", 8 * GIB, "A1")],
            storage(raid="1"),
            r"2 disks of \d+ bytes or more wanted; found: /dev/sda \(ssd, 8589934592 bytes, serial A1\)",
            id="one-disk-for-a-mirror",
        ),
        pytest.param(
            [Disk("/dev/sda", 8 * GIB)],
            storage({"serial": "XY", "type": "nvme"}),
            r"no disk .* left for serial XY, type nvme; found: /dev/sda \(ssd",
            id="no-such-disk",
        ),
        pytest.param(
            [Disk("/dev/sda", 8 * GIB), Disk("/dev/sdb", 8 * GIB)],
            storage({}, {}),
            "without RAID the system is on one disk; 2 are asked for",
            id="two-without-raid",
        ),
        pytest.param([], storage({}, {}, raid="10"), "RAID 10 needs 4 disks or more; 2 are asked for", id="raid-10"),
    ],
)
def test_a_refusal_names_what_was_wanted_and_what_was_found(found: list[Disk], wish: Storage, words: str) -> None:
    with pytest.raises(layout.NoLayout, match=words):
        made(found, wish)


def test_a_foreign_image_goes_to_a_whole_disk_only() -> None:
    foreign = [
        Partition(1, 200 * MIB, 400 * MIB, gpt.LINUX, "root", "ext4", "u"),
        Partition(15, 2 * MIB, 100 * MIB, gpt.ESP, "esp", "vfat", "v"),
    ]
    found = [Disk("/dev/sda", 8 * GIB), Disk("/dev/sdb", 8 * GIB)]
    plan = layout.plan(found, storage(), foreign, IMAGE_BYTES, firmware="uefi", new_uuid=uuids())
    assert (plan.whole, plan.root) == ("/dev/sda", "/dev/sda1")
    with pytest.raises(layout.NoLayout, match=r"one whole disk only: its partitions are 1 root, 15 esp"):
        layout.plan(found, storage(raid="1"), foreign, IMAGE_BYTES, firmware="uefi", new_uuid=uuids())


def test_no_bios_boots_from_sectors_of_4096_bytes() -> None:
    with pytest.raises(layout.NoLayout, match=r"/dev/sda has sectors of 4096 bytes, from which no BIOS boots"):
        made([Disk("/dev/sda", 8 * GIB, sector=4096)], storage(), "bios")

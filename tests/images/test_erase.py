"""An erase over scripted disks: the best method that serves, the next where one does not, and proof or a failure."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from images.agent import ata, nvme, scsi
from images.agent.erase import run_all, wanted_disks
from images.agent.erase_course import Course, Together
from images.agent.erase_node import Node
from images.agent.errors import WorkDropped, WorkFailed
from images.protocol import DiskErasure
from tests.images.scripted_disks import FileNode, secret
from tests.images.scripted_nvme import NvmeController, NvmeNode
from tests.images.scripted_scsi import AtaDisk, ScsiDisk, ScsiNode

MIB = 1 << 20
SIZE = 9 * MIB + 512  # not a whole number of anything


def erased(
    *groups: Sequence[Node], samples: int = 16, limit_s: float = 3600, shared: bool = False
) -> list[DiskErasure]:
    stopped = threading.Event()
    deadline = time.monotonic() + limit_s
    together = [
        Together([Course(node) for node in group], samples, deadline, stopped, shared=shared) for group in groups
    ]
    return run_all(together, stopped, lambda stage, done, total: None)["disks"]


def tried(disk: DiskErasure) -> list[tuple[str, str]]:
    return [(one["method"], one["outcome"]) for one in disk["attempts"]]


def holds_none_of(path: Path, data: bytes) -> bool:
    """Whether no sector of the disk is as it was."""
    now = path.read_bytes()
    return all(now[at : at + 512] != data[at : at + 512] for at in range(0, len(data), 512))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vda"


def test_a_disk_that_makes_zeros_is_discarded_and_reads_as_zeros(path: Path) -> None:
    secret(path, SIZE)
    [disk] = erased([FileNode(path, zeroes=True)])
    assert path.read_bytes() == bytes(SIZE)
    assert (disk["method"], disk["verdict"], disk["controller"]) == ("discard-zeroes", "zeros", "block")
    assert disk["samples_read"] == disk["samples_clean"] > 128 < disk["samples_old"]


def test_flash_that_makes_no_zeros_is_overwritten_with_what_it_cannot_leave_out(path: Path) -> None:
    data = secret(path, SIZE)
    [disk] = erased([FileNode(path)])
    assert tried(disk) == [("discard-zeroes", "refused"), ("overwrite-pattern", "done")]
    assert disk["verdict"] == "pattern"
    assert holds_none_of(path, data)
    now = path.read_bytes()
    blocks = [now[at : at + 4096] for at in range(0, SIZE, 4096)]
    assert len(set(blocks)) == len(blocks)


def test_a_spinning_disk_is_overwritten_with_zeros(path: Path) -> None:
    secret(path, SIZE)
    [disk] = erased([FileNode(path, flash=False)])
    assert (disk["method"], disk["verdict"]) == ("overwrite-zeros", "zeros")
    assert path.read_bytes() == bytes(SIZE)


@pytest.mark.parametrize("zeroes", [True, False], ids=["discard", "overwrite"])
@pytest.mark.parametrize("flash", [True, False], ids=["flash", "spinning"])
def test_a_disk_that_lies_is_caught(path: Path, zeroes: bool, flash: bool) -> None:
    secret(path, SIZE)
    with pytest.raises(WorkFailed, match=r"vda \(S-vda\): .* was reported as done and left the bytes of before at"):
        erased([FileNode(path, zeroes=zeroes, liar=True, flash=flash)])


@pytest.mark.parametrize("place", [SIZE - 512, SIZE - 33 * 512, SIZE - 64 * 1024 - 512, 0, 512, 4096, 65536 + 64])
def test_metadata_at_either_end_that_stays_is_found_with_its_place(path: Path, place: int) -> None:
    path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file:
        file.seek(place)
        file.write(os.urandom(64))
    with pytest.raises(WorkFailed, match=f"offset {place // 512 * 512}$"):
        erased([FileNode(path, zeroes=True, liar=True)], samples=1)


def test_a_place_that_takes_no_write_is_named(path: Path) -> None:
    secret(path, SIZE)
    with pytest.raises(
        WorkFailed, match=r"overwrite-pattern failed: Input/output error while writing at offset 4194304"
    ):
        erased([FileNode(path, broken_at=5 * MIB)])


def test_a_budget_that_is_too_short_fails_before_the_disk_is_touched(path: Path) -> None:
    data = secret(path, SIZE)
    with pytest.raises(WorkFailed, match=r"overwrite-pattern too slow: it needs about 0 s, and 0 s are left"):
        erased([FileNode(path)], limit_s=-1)
    assert path.read_bytes() == data


def test_an_nvme_disk_is_sanitized_and_what_is_left_made_zeros(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    controller = NvmeController(sanitizes={nvme.BLOCK: "random", nvme.CRYPTO: "random"})
    [disk] = erased([NvmeNode(path, controller, zeroes=True)])
    assert controller.seen == [f"sanitize {nvme.BLOCK}"]
    assert (disk["method"], disk["verdict"], disk["serial"], disk["firmware"]) == (
        *("nvme-sanitize-block", "zeros", "NV1", "1.0"),
    )
    assert disk["attempts"][0]["reason"] == "made zeros by discard afterwards"
    assert path.read_bytes() == bytes(SIZE)


def test_a_sanitize_whose_remains_cannot_be_made_zeros_is_proved_by_change(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    data = secret(path, SIZE)
    [disk] = erased([NvmeNode(path, NvmeController(sanitizes={nvme.CRYPTO: "random"}))])
    assert (disk["method"], disk["verdict"]) == ("nvme-sanitize-crypto", "changed")
    assert holds_none_of(path, data)


@pytest.mark.parametrize("controller", [
    NvmeController(sanitizes={nvme.BLOCK: "same"}),
    NvmeController(sanitizes={nvme.CRYPTO: "same"}),
    NvmeController(formats={nvme.USER_DATA_ERASE: "same"}),
    NvmeController(formats={nvme.CRYPTO_ERASE: "same"}),
], ids=["block", "crypto", "format", "format crypto"])  # fmt: skip
def test_an_nvme_controller_that_lies_is_caught(tmp_path: Path, controller: NvmeController) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    with pytest.raises(WorkFailed, match="was reported as done and left the bytes of before"):
        erased([NvmeNode(path, controller, zeroes=True)])


def test_a_sanitize_that_breaks_off_and_a_format_that_is_refused_lead_to_the_next_method(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    controller = NvmeController(
        sanitizes={nvme.BLOCK: "zeros"},
        fails={nvme.BLOCK},
        formats={nvme.USER_DATA_ERASE: "zeros"},
        refuses_formats=True,
    )
    [disk] = erased([NvmeNode(path, controller, zeroes=True)])
    assert tried(disk) == [
        ("nvme-sanitize-block", "refused"),
        ("nvme-format-erase", "refused"),
        ("discard-zeroes", "done"),
    ]
    assert disk["attempts"][1]["reason"] == "the controller answered: operation denied"


def test_all_namespaces_are_sanitized_at_once_and_formatted_one_by_one(tmp_path: Path) -> None:
    for kind, seen in (
        ({"sanitizes": {nvme.BLOCK: "zeros"}}, [f"sanitize {nvme.BLOCK}"]),
        ({"formats": {nvme.USER_DATA_ERASE: "zeros"}}, ["format 1 1", "format 2 1"]),
    ):
        paths = [tmp_path / "nvme0n1", tmp_path / "nvme0n2"]
        controller = NvmeController(**kind, allocated=[1, 2])  # type: ignore[arg-type]
        for path in paths:
            secret(path, SIZE)
        disks = erased([NvmeNode(path, controller, number) for number, path in enumerate(paths, 1)])
        assert controller.seen == seen
        assert [disk["path"] for disk in disks] == [str(path) for path in paths]
        assert all(path.read_bytes() == bytes(SIZE) for path in paths)


def test_a_sanitize_that_breaks_off_is_tried_once_for_all_namespaces(tmp_path: Path) -> None:
    controller = NvmeController(
        sanitizes={nvme.BLOCK: "zeros"},
        fails={nvme.BLOCK},
        formats={nvme.USER_DATA_ERASE: "zeros"},
        allocated=[1, 2],
    )
    paths = [tmp_path / "nvme0n1", tmp_path / "nvme0n2"]
    for path in paths:
        secret(path, SIZE)
    disks = erased([NvmeNode(path, controller, number) for number, path in enumerate(paths, 1)])
    assert [tried(disk) for disk in disks] == [[("nvme-sanitize-block", "refused"), ("nvme-format-erase", "done")]] * 2
    assert controller.seen == [f"sanitize {nvme.BLOCK}", "format 1 1", "format 2 1"]


def test_a_namespace_that_is_to_stay_forbids_to_sanitize_its_controller(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    controller = NvmeController(sanitizes={nvme.BLOCK: "zeros"}, formats={nvme.USER_DATA_ERASE: "zeros"})
    [disk] = erased([NvmeNode(path, controller)], shared=True)
    assert controller.seen == ["format 1 1"]
    assert tried(disk) == [("nvme-sanitize-block", "refused"), ("nvme-format-erase", "done")]


def test_a_namespace_out_of_reach_is_erased_by_a_sanitize_or_fails_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    sanitizer = NvmeController(sanitizes={nvme.BLOCK: "zeros"}, allocated=[1, 2])
    [disk] = erased([NvmeNode(path, sanitizer)])
    assert disk["hidden"] == ["namespace 2 is not attached"]
    with pytest.raises(WorkFailed, match="does not reach all of it: namespace 2 is not attached"):
        erased([NvmeNode(path, NvmeController(formats={nvme.USER_DATA_ERASE: "zeros"}, allocated=[1, 2]))])


def test_a_sanitize_found_under_way_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    controller = NvmeController(sanitizes={nvme.BLOCK: "zeros"}, polls=5)
    node = NvmeNode(path, controller)
    controller.sanitize(nvme.BLOCK)
    [disk] = erased([node])
    assert tried(disk) == [("nvme-sanitize-block", "done")] * 2
    assert disk["attempts"][0]["reason"] == "found under way"
    assert disk["samples_old"] == 0


@pytest.mark.parametrize(("disk", "method"), [
    (ScsiDisk(Path("sda"), sanitizes={scsi.BLOCK: "zeros"}), "scsi-sanitize-block"),
    (ScsiDisk(Path("sda"), sanitizes={scsi.CRYPTO: "random"}, zeroes=True), "scsi-sanitize-crypto"),
    (ScsiDisk(Path("sda"), sanitizes={scsi.OVERWRITE: "zeros"}, spins=True), "scsi-sanitize-overwrite"),
    (ScsiDisk(Path("sda"), zeroes=True, formats="zeros"), "discard-zeroes"),
    (AtaDisk(Path("sda"), sanitizes={ata.BLOCK: "zeros"}), "ata-sanitize-block"),
    (AtaDisk(Path("sda"), sanitizes={ata.CRYPTO: "random"}), "ata-sanitize-crypto"),
    (AtaDisk(Path("sda"), sanitizes={ata.OVERWRITE: "zeros"}, spins=True), "ata-sanitize-overwrite"),
    (AtaDisk(Path("sda"), erases={False: "zeros", True: "random"}), "ata-security-enhanced"),
    (AtaDisk(Path("sda"), erases={False: "zeros"}), "ata-security"),
], ids=lambda value: value if isinstance(value, str) else value.vendor)  # fmt: skip
def test_scsi_and_ata_disks_are_erased_by_what_they_report(tmp_path: Path, disk: ScsiDisk, method: str) -> None:
    disk.path = tmp_path / "sda"
    data = secret(disk.path, SIZE)
    [told] = erased([ScsiNode(disk)])
    assert told["method"] == method
    assert told["controller"] == ("ata" if isinstance(disk, AtaDisk) else "scsi")
    assert holds_none_of(disk.path, data)


def test_a_frozen_ata_disk_is_told_and_overwritten(tmp_path: Path) -> None:
    disk = AtaDisk(tmp_path / "sda", erases={False: "zeros", True: "zeros"}, frozen=True)
    secret(disk.path, SIZE)
    [told] = erased([ScsiNode(disk)])
    assert tried(told)[:2] == [("ata-security-enhanced", "refused"), ("ata-security", "refused")]
    assert "frozen" in told["attempts"][0]["reason"]
    assert told["method"] == "overwrite-pattern"


def test_a_sanitize_that_could_not_be_watched_is_not_begun(tmp_path: Path) -> None:
    disk = AtaDisk(tmp_path / "sda", sanitizes={ata.BLOCK: "zeros"}, erases={True: "zeros"}, drops_registers=True)
    secret(disk.path, SIZE)
    [told] = erased([ScsiNode(disk)])
    assert tried(told) == [("ata-sanitize-block", "refused"), ("ata-security-enhanced", "done")]
    assert "could not be watched" in told["attempts"][0]["reason"]


def test_a_disk_locked_by_our_own_password_is_erased_and_by_anothers_fails(tmp_path: Path) -> None:
    disk = AtaDisk(tmp_path / "sda", erases={True: "zeros"}, password=ata.PASSWORD, locked=True)
    secret(disk.path, SIZE)
    [told] = erased([ScsiNode(disk)])
    assert (told["method"], disk.locked, disk.password) == ("ata-security-enhanced", False, b"")
    foreign = AtaDisk(disk.path, erases={True: "zeros"}, password=b"tenant's", locked=True)
    with pytest.raises(WorkFailed, match="locked by a password that is not ours"):
        erased([ScsiNode(foreign)])


def test_a_password_that_would_lock_the_next_customer_out_fails_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "nvme0n1"
    secret(path, SIZE)
    controller = NvmeController(formats={nvme.USER_DATA_ERASE: "zeros"}, taken=True)
    with pytest.raises(WorkFailed, match="left its self-encryption under a password that is not ours"):
        erased([NvmeNode(path, controller)])
    disk = ScsiDisk(tmp_path / "sda", sanitizes={scsi.CRYPTO: "random"}, taken=True)
    secret(disk.path, SIZE)
    with pytest.raises(WorkFailed, match="left its self-encryption under a password that is not ours"):
        erased([ScsiNode(disk)])
    disk.taken = False
    assert erased([ScsiNode(disk)])[0]["method"] == "scsi-sanitize-crypto"
    unlocked = AtaDisk(tmp_path / "sda", erases={True: "zeros"}, password=b"tenant's")
    with pytest.raises(WorkFailed, match="overwrite-pattern erased it and left a password that is not ours"):
        erased([ScsiNode(unlocked)])


def test_a_host_protected_area_is_taken_back_and_erased(tmp_path: Path) -> None:
    disk = AtaDisk(tmp_path / "sda", sectors_shown=4 * MIB // 512, zeroes=True)
    secret(disk.path, 8 * MIB)
    [told] = erased([ScsiNode(disk)])
    assert told["bytes"] == 8 * MIB
    assert told["hidden"] == [f"a host protected area of {4 * MIB} bytes was taken back"]
    assert disk.path.read_bytes() == bytes(8 * MIB)


def test_an_area_that_stays_hidden_fails_the_machine(tmp_path: Path) -> None:
    disk = AtaDisk(tmp_path / "sda", sectors_shown=4 * MIB // 512, zeroes=True, keeps_hidden=True)
    secret(disk.path, 8 * MIB)
    with pytest.raises(WorkFailed, match="hides a part of itself and keeps it hidden"):
        erased([ScsiNode(disk)])


def test_a_scsi_disk_whose_format_broke_off_is_formatted_again(tmp_path: Path) -> None:
    disk = ScsiDisk(tmp_path / "sda", formats="zeros", zeroes=True, unformatted=True)
    secret(disk.path, SIZE)
    node = ScsiNode(disk)
    node.disk.bytes = 0
    [told] = erased([node])
    assert tried(told) == [("scsi-format-unit", "done"), ("discard-zeroes", "done")]
    assert told["bytes"] == SIZE


def test_one_disk_that_fails_fails_them_all(tmp_path: Path) -> None:
    good, bad = tmp_path / "vda", tmp_path / "vdb"
    for path in (good, bad):
        secret(path, SIZE)
    with pytest.raises(WorkFailed, match="vdb"):
        erased([FileNode(good, zeroes=True)], [FileNode(bad, zeroes=True, liar=True)])


def test_work_that_is_no_longer_wanted_ends_the_threads(path: Path) -> None:
    secret(path, SIZE)
    stopped = threading.Event()
    node = FileNode(path)

    def report(stage: str, done: int, total: int) -> None:
        raise WorkDropped("dropped")

    with pytest.raises(WorkDropped):
        run_all([Together([Course(node)], 1, time.monotonic() + 60, stopped, shared=False)], stopped, report)
    assert not [thread for thread in threading.enumerate() if thread.name == "erase"]


def _sys_block(root: Path, **disks: dict[str, str]) -> str:
    for name, attributes in disks.items():
        for attribute, value in ({"size": "2048", "ro": "0", "removable": "0"} | attributes).items():
            file = root / name / attribute
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value)
    return str(root)


def test_every_disk_that_a_customer_could_read_is_erased(tmp_path: Path) -> None:
    sys_block = _sys_block(
        tmp_path,
        sda={},
        sdb={"size": "0"},
        sdc={"size": "0", "removable": "1"},
        nvme0c0n1={"hidden": "1"},
        nvme0n1={},
        sr0={},
    )
    assert {disk.path: disk.bytes for disk in wanted_disks([], sys_block)} == {
        "/dev/sda": 1 << 20,
        "/dev/nvme0n1": 1 << 20,
        "/dev/sdb": 0,
    }
    assert [disk.path for disk in wanted_disks(["/dev/sda"], sys_block)] == ["/dev/sda"]
    with pytest.raises(WorkFailed, match="no such disk: /dev/sdz"):
        wanted_disks(["/dev/sdz"], sys_block)


def test_a_write_protected_disk_fails_the_machine(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="/dev/sda: it is write-protected"):
        wanted_disks([], _sys_block(tmp_path, sda={"ro": "1"}, sdb={}))

"""How an installer's script finds the disks of an order, under each shell that runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from images.native.disks import finder
from images.protocol import DiskHint, Storage
from tests.images.native.sandbox import DISKS, GB, FakeDisk, machine, run

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
SHOW = '\nfor number in 0 1 2 3; do eval "echo \\${disk$number:-}"; done'


def storage(*hints: DiskHint, raid: str = "none") -> Storage:
    """Disks, and how many there are of them."""
    made: Storage = {"disks": list(hints), "raid": "none", "lvm": False, "passphrase": ""}
    made["raid"] = "1" if raid == "1" else "10" if raid == "10" else "none"
    return made


def found(shell: str, root: Path, wanted: Storage, disks: tuple[FakeDisk, ...] = DISKS) -> list[str]:
    """The names of the disks that the script found; its complaint where it found none."""
    if not shutil.which(SHELLS[shell][0]):
        pytest.skip(f"needs the Debian package {shell}")
    done = run(SHELLS[shell], "set -eu\n" + finder(wanted) + SHOW, machine(root, disks))
    if done.returncode:
        return [done.stderr.strip()]
    return [line.rpartition("/")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        # The smallest of those without platters; a pair of one size; and what there is where four are not alike.
        (storage(), ["sdb"]),
        (storage(raid="1"), ["sdb", "sde"]),
        (storage(raid="10"), ["sdb", "sde", "nvme0n1", "vda"]),
        (storage({"serial": "S1 B-2"}), ["sdb"]),
        (storage({"serial": "N1"}), ["nvme0n1"]),
        (storage({"serial": "V1"}), ["vda"]),
        (storage({"type": "hdd"}), ["vda"]),
        (storage({"type": "ssd"}), ["sdb"]),
        (storage({"type": "nvme"}), ["nvme0n1"]),
        (storage({"min_bytes": 1000 * GB}), ["sdc"]),
        (storage({"max_bytes": 40 * GB, "min_bytes": 1}), ["vda"]),
        (storage({"serial": "S2", "type": "ssd"}, {"type": "ssd"}, raid="1"), ["sde", "sdb"]),
        # What names one disk goes first, or what fits many would take it.
        (storage({"type": "ssd"}, {"serial": "S1 B-2"}, raid="1"), ["sde", "sdb"]),
    ],
    ids=lambda value: None if isinstance(value, list) else repr(value["disks"]) + value["raid"],
)
def test_disks_are_found_by_what_they_are(shell: str, wanted: Storage, names: list[str], tmp_path: Path) -> None:
    assert found(shell, tmp_path, wanted) == names


@pytest.mark.parametrize("shell", SHELLS)
def test_a_disk_that_is_not_there_is_named_with_those_that_are(shell: str, tmp_path: Path) -> None:
    (said,) = found(shell, tmp_path, storage({"serial": "'$(id)\"", "min_bytes": 5}), DISKS[2:4])
    assert said.startswith("no disk with path '', serial ''$(id)\"', type '', bytes 5 to  is left; found: ")
    assert "sdb (480000000000 bytes)" in said
    assert "sdc (4000000000000 bytes)" in said


@pytest.mark.parametrize("shell", SHELLS)
def test_a_disk_is_found_by_any_of_its_paths(shell: str, tmp_path: Path) -> None:
    (tmp_path / "dev/disk/by-id").mkdir(parents=True)
    (tmp_path / "dev/disk/by-id/wwn-0x5000").symlink_to("../../sde")
    wanted = storage({"path": "/dev/disk/by-id/wwn-0x5000"})
    assert found(shell, tmp_path, wanted) == ["sde"]


def test_it_runs_on_the_few_programs_that_debians_installer_has(initrd: Path, tmp_path: Path) -> None:
    inside = initrd / tmp_path.name
    machine(inside)
    described = "set -eu\n" + finder(storage({"serial": "S1 B-2"}, {"type": "hdd"}, raid="1")) + SHOW
    env = {
        "PATH": "/bin:/usr/bin:/sbin",
        "ROUNDHOUSE_SYS": f"/{inside.name}/sys",
        "ROUNDHOUSE_DEV": f"/{inside.name}/dev",
    }
    for script, names in (
        (described, ["sdb", "vda"]),
        ("set -eu\n" + finder(storage(raid="1")) + SHOW, ["sdb", "sde"]),
    ):
        argv = ["chroot", str(initrd), "/bin/busybox", "sh", "-c", script]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout.split() == [f"/{inside.name}/dev/{name}" for name in names], done.stderr

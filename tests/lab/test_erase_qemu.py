"""Erasing in a virtual machine: a customer's bytes are looked for from outside, in the files behind the disks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from images.agent import ata, scsi
from tests.images.scripted_disks import secret
from tests.images.scripted_scsi import AtaDisk, ScsiDisk
from tests.lab.erase_scene import EraseService, console, drive, erase_service, machine, why_not
from tests.lab.iscsi_target import iscsi_target
from tests.lab.nbd_disk import NbdDisk, nbd_disk

MIB = 1 << 20
_ISCSI = next(Path("/usr/lib").glob("*/qemu/block-iscsi.so"), None)

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

SCSI_BUS = ("-device", "virtio-scsi-pci,id=scsi")
NVME = ("-device", "nvme,id=nvme,serial=NVME")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[EraseService]:
    async with erase_service() as running:
        yield running
    print(console(tmp_path))


def remains(file: Path, data: bytes) -> list[int]:
    """The offsets of the sectors in a disk's file that are as they were, some at most."""
    now = file.read_bytes()
    return [at for at in range(0, len(data), 512) if now[at : at + 512] == data[at : at + 512]][:5]


def by_serial(result: Any) -> dict[str, dict[str, Any]]:
    assert isinstance(result, dict), result
    return {f"{disk['path']} {disk['serial']}": disk for disk in result["disks"]}


def methods(disk: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["method"], one["outcome"]) for one in disk["attempts"]]


async def test_nothing_of_a_customer_is_left_on_nvme_scsi_virtio_and_sata(
    service: EraseService, tmp_path: Path
) -> None:
    devices = {
        "nvme 1": ("nvme-ns,bus=nvme,nsid=1,{}", "discard=unmap"),
        "nvme 2": ("nvme-ns,bus=nvme,nsid=2,logical_block_size=4096,physical_block_size=4096,{}", "discard=unmap"),
        "virtio": ("virtio-blk-pci,serial=VD,{}", "discard=unmap"),
        "virtio without discard": ("virtio-blk-pci,serial=VO,discard=off,write-zeroes=off,{}", "discard=ignore"),
        "scsi": ("scsi-hd,bus=scsi.0,serial=SU,{}", "discard=unmap"),
        "scsi without discard": ("scsi-hd,bus=scsi.0,serial=SO,{}", "discard=ignore"),
        "scsi of 4096 bytes": (
            *("scsi-hd,bus=scsi.0,serial=S4,logical_block_size=4096,physical_block_size=4096,{}", "discard=unmap"),
        ),
        "sata": ("ide-hd,bus=ide.0,serial=AT,{}", "discard=unmap"),
    }
    files = {name: tmp_path / f"disk{number}" for number, name in enumerate(devices)}
    data = {name: secret(file, 48 * MIB) for name, file in files.items()}
    arguments = [*SCSI_BUS, *NVME]
    for number, (name, (device, options)) in enumerate(devices.items()):
        arguments += drive(number, files[name], device, options)
    work = service.erase()
    async with machine(tmp_path, service.port, arguments):
        disks = by_serial(await service.end_of(work))
    found = {key.split()[1]: disk for key, disk in disks.items() if "nvme" not in key}
    formatted = [disk for key, disk in disks.items() if "nvme" in key]
    assert [disk["method"] for disk in formatted] == ["nvme-format-erase"] * 2
    assert methods(found["VD"]) == methods(found["SU"]) == methods(found["S4"]) == [("discard-zeroes", "done")]
    assert methods(found["VO"]) == [("discard-zeroes", "refused"), ("overwrite-zeros", "done")]
    for disk in disks.values():
        assert disk["samples_clean"] == disk["samples_read"] > disk["samples_old"] >= 64
    if "AT" not in found:  # a cloud kernel has no driver for this controller
        data.pop("sata")
    assert {name: remains(files[name], before) for name, before in data.items()} == {name: [] for name in data}
    for name, disk in sorted(disks.items()):
        print(name, disk["method"], disk["verdict"], f"{disk['seconds']} s")


async def test_disks_that_lie_are_caught(service: EraseService, tmp_path: Path) -> None:
    kinds = {
        "/dev/vda": "virtio-blk-pci,serial=LIAR,{}",
        "/dev/vdb": "virtio-blk-pci,serial=LIAR,discard=off,write-zeroes=off,{}",
        "/dev/sda": "scsi-hd,bus=scsi.0,serial=LIAR,{}",
        "/dev/nvme0n1": "nvme-ns,bus=nvme,nsid=1,{}",
    }
    liars = [NbdDisk(tmp_path / f"liar{number}", liar=True) for number in range(len(kinds))]
    data = [secret(liar.path, 32 * MIB) for liar in liars]
    arguments = [*SCSI_BUS, *NVME]
    async with nbd_disk(liars[0]) as a, nbd_disk(liars[1]) as b, nbd_disk(liars[2]) as c, nbd_disk(liars[3]) as d:
        for number, (name, device) in enumerate(zip((a, b, c, d), kinds.values(), strict=True)):
            arguments += drive(number, name, device)
        works = [service.erase(path) for path in kinds]
        async with machine(tmp_path, service.port, arguments):
            for path, work in zip(kinds, works, strict=True):
                reason = await service.end_of(work)
                assert isinstance(reason, str) and path in reason, reason
                assert re.search(r"was reported as done and left the bytes of before at offset \d+$", reason)
                print(reason)
    assert all(liar.writes for liar in liars)
    assert [liar.path.read_bytes() == before for liar, before in zip(liars, data, strict=True)] == [True] * len(liars)


async def _scripted(
    service: EraseService, folder: Path, units: Sequence[ScsiDisk], *, cut_after: int = 0
) -> dict[str, dict[str, Any]]:
    """Erase these behind a real kernel; after so many commands of erasing the power is cut, and it boots again."""
    work = service.erase()
    async with iscsi_target(units) as names:
        arguments = list(SCSI_BUS)
        for number, name in enumerate(names):
            arguments += drive(number, name, f"scsi-generic,bus=scsi.0,scsi-id={number},{{}}", "cache.direct=off")
        if cut_after:
            async with machine(folder, service.port, arguments):
                async with asyncio.timeout(120):
                    while sum(len(unit.seen) for unit in units) < cut_after:
                        await asyncio.sleep(0.05)
            assert not service.told
        async with machine(folder, service.port, arguments):
            return by_serial(await service.end_of(work))


@pytest.mark.skipif(_ISCSI is None, reason="needs the Debian package qemu-block-extra")
async def test_a_real_kernel_hands_sanitize_and_security_commands_on(service: EraseService, tmp_path: Path) -> None:
    units = [
        ScsiDisk(tmp_path / "u0", sanitizes={scsi.BLOCK: "zeros"}),
        ScsiDisk(tmp_path / "u1", sanitizes={scsi.CRYPTO: "random"}, zeroes=True),
        ScsiDisk(tmp_path / "u2", sanitizes={scsi.OVERWRITE: "zeros"}, spins=True),
        AtaDisk(tmp_path / "u3", sanitizes={ata.BLOCK: "zeros"}),
        AtaDisk(tmp_path / "u4", erases={True: "random"}),
        AtaDisk(tmp_path / "u5", erases={True: "random"}, frozen=True),
    ]
    data = [secret(unit.path, 8 * MIB) for unit in units]
    disks = {disk["serial"]: disk for disk in (await _scripted(service, tmp_path, units)).values()}
    assert {serial: (disk["controller"], disk["method"]) for serial, disk in disks.items()} == {
        "SCRIPTED-u0": ("scsi", "scsi-sanitize-block"),
        "SCRIPTED-u1": ("scsi", "scsi-sanitize-crypto"),
        "SCRIPTED-u2": ("scsi", "scsi-sanitize-overwrite"),
        "SCRIPTED-u3": ("ata", "overwrite-pattern"),
        "SCRIPTED-u4": ("ata", "ata-security-enhanced"),
        "SCRIPTED-u5": ("ata", "overwrite-pattern"),
    }
    # QEMU turns sense data into the fixed format, which has no room for the registers.
    assert "could not be watched" in disks["SCRIPTED-u3"]["attempts"][0]["reason"]
    assert "frozen" in disks["SCRIPTED-u5"]["attempts"][0]["reason"]
    assert [remains(unit.path, before) for unit, before in zip(units, data, strict=True)] == [[]] * len(units)


@pytest.mark.skipif(_ISCSI is None, reason="needs the Debian package qemu-block-extra")
async def test_a_sanitize_that_outlives_the_power_cut_ends_well(service: EraseService, tmp_path: Path) -> None:
    unit = ScsiDisk(tmp_path / "u0", sanitizes={scsi.BLOCK: "zeros"}, polls=12)
    data = secret(unit.path, 8 * MIB)
    [disk] = (await _scripted(service, tmp_path, [unit], cut_after=1)).values()
    assert methods(disk)[-1] == ("scsi-sanitize-block", "done")
    assert remains(unit.path, data) == []


async def test_an_erase_that_lost_its_power_three_times_ends_well_the_fourth(
    service: EraseService, tmp_path: Path
) -> None:
    files = [tmp_path / "disk0", tmp_path / "disk1"]
    data = [secret(file, 96 * MIB) for file in files]
    slow = "discard=ignore,throttling.bps-write=16000000"
    arguments = [
        *drive(0, files[0], "virtio-blk-pci,serial=V0,discard=off,write-zeroes=off,{}", slow),
        *drive(1, files[1], "virtio-blk-pci,serial=V1,discard=off,write-zeroes=off,{}", slow),
    ]
    work = service.erase()
    for share in (0.0, 0.3, 0.7):
        service.progress.clear()
        async with machine(tmp_path, service.port, arguments):
            await service.until_erased(100 * share)
        assert not service.told
    async with machine(tmp_path, service.port, arguments):
        disks = by_serial(await service.end_of(work))
    assert [disk["method"] for disk in disks.values()] == ["overwrite-zeros"] * 2
    assert [remains(file, before) for file, before in zip(files, data, strict=True)] == [[], []]

"""Partition tables: ours read by fdisk, any bytes read by us."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent import gpt

MIB = 1 << 20
GUIDS = st.uuids().map(str)


def written(path: Path, size: int, sector: int, partitions: list[gpt.Partition], guid: str) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in gpt.encode(size, sector, guid, partitions):
            file.seek(offset)
            file.write(data)


@pytest.mark.parametrize("sector", [512, 4096])
def test_fdisk_reads_our_table_and_finds_nothing_wrong(sector: int, tmp_path: Path) -> None:
    fdisk = shutil.which("fdisk", path="/usr/sbin:/sbin:/usr/bin")
    if fdisk is None:
        pytest.skip("needs Debian's fdisk")
    disk, guid = tmp_path / "disk", "6f1b5c0e-1111-4222-8333-444455556666"
    partitions = [
        gpt.Partition(1, MIB, MIB, gpt.BIOS_BOOT, "0a000000-0000-4000-8000-000000000001", "bios"),
        gpt.Partition(2, 2 * MIB, 8 * MIB, gpt.ESP, "0a000000-0000-4000-8000-000000000002", "esp"),
        gpt.Partition(4, 10 * MIB, 20 * MIB, gpt.RAID, "0a000000-0000-4000-8000-000000000003", "root"),
    ]
    written(disk, 40 * MIB, sector, partitions, guid)
    columns = "Start,Sectors,Type-UUID,UUID,Name"
    listing = [fdisk, "--sector-size", str(sector), "--list", "--output", columns, str(disk)]
    told = subprocess.run(listing, capture_output=True, text=True, check=True)
    assert told.stderr == ""
    lines = told.stdout.lower().splitlines()
    assert f"disk identifier: {guid}" in lines
    assert [line.split() for line in lines[-3:]] == [
        [str(one.start // sector), str(one.bytes // sector), one.type, one.guid, one.name] for one in partitions
    ]
    if sector == 512:
        verdict = subprocess.run(["/usr/sbin/sfdisk", "--verify", disk], capture_output=True, text=True, check=True)
        assert "No errors detected" in verdict.stdout


@given(
    st.sampled_from([512, 4096]),
    GUIDS,
    st.lists(st.tuples(st.integers(1, 9), GUIDS.filter(lambda guid: UUID(guid).int > 0), GUIDS), max_size=8),
)
def test_what_we_write_we_read(sector: int, guid: str, rows: list[tuple[int, str, str]]) -> None:
    at, partitions = 1, []
    for number, (size, kind, own) in enumerate(rows, 1):
        partitions.append(gpt.Partition(number, at * MIB, size * MIB, kind, own, f"name {number}"))
        at += size
    fd = os.memfd_create("disk")
    try:
        os.ftruncate(fd, 100 * MIB)
        for offset, data in gpt.encode(100 * MIB, sector, guid, partitions):
            os.pwrite(fd, data, offset)
        found = gpt.read(fd, sector)
    finally:
        os.close(fd)
    fields = ("number", "start", "bytes", "type", "guid", "name")
    assert [[getattr(one, name) for name in fields] for one in found] == [
        [getattr(one, name) for name in fields] for one in partitions
    ]


@given(st.binary(max_size=4096))
def test_junk_is_a_table_or_is_refused(junk: bytes) -> None:
    fd = os.memfd_create("disk")
    try:
        os.pwrite(fd, b"EFI PART" + junk, 512)
        gpt.read(fd)
    except gpt.NoTable:
        pass
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("partition", "words"),
    [
        pytest.param(gpt.Partition(1, MIB + 1, MIB, gpt.LINUX, gpt.LINUX), "does not lie on sectors", id="unaligned"),
        pytest.param(gpt.Partition(1, MIB, 39 * MIB, gpt.LINUX, gpt.LINUX), "does not fit the disk", id="second-copy"),
        pytest.param(gpt.Partition(129, MIB, MIB, gpt.LINUX, gpt.LINUX), "does not fit the disk", id="number"),
    ],
)
def test_what_does_not_fit_is_refused(partition: gpt.Partition, words: str) -> None:
    with pytest.raises(gpt.NoTable, match=words):
        gpt.encode(40 * MIB, 512, gpt.LINUX, [partition])

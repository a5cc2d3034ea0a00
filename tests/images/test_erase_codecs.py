"""The bytes of erase commands and answers: golden ones from the standards' tables, and any bytes at all."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent import ata, nvme, opal, scsi
from images.agent.errors import Malformed

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "nvme controller": nvme.Controller,
    "nvme namespace": nvme.Namespace,
    "nvme namespace list": nvme.namespaces,
    "nvme sanitize status": nvme.SanitizeStatus,
    "scsi sense": scsi.Sense,
    "scsi inquiry": scsi.Inquiry,
    "scsi serial number": scsi.serial_of,
    "scsi operation code": scsi.is_supported,
    "scsi completion": scsi.Completion,
    "opal discovery": opal.is_taken,
    "ata identity": ata.Identity,
    "ata registers": ata.Registers,
    "ata configuration": ata.configured_sectors,
}


@pytest.mark.parametrize("name", DECODERS)
@given(
    data=st.one_of(
        st.binary(max_size=600), st.binary(min_size=512, max_size=512), st.binary(min_size=4096, max_size=4096)
    )
)
def test_any_bytes_are_decoded_or_malformed(name: str, data: bytes) -> None:
    try:
        DECODERS[name](data)
    except Malformed:
        return


@given(
    key=st.integers(0, 15),
    code=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    progress=st.integers(0, 0xFFFF),
    descriptors=st.lists(st.tuples(st.integers(0x80, 0xFF), st.binary(max_size=20)), max_size=4),
)
def test_sense_says_the_same_in_both_formats(
    key: int, code: tuple[int, int], progress: int, descriptors: list[tuple[int, bytes]]
) -> None:
    fixed = struct.pack(">BBBIB4sBBBBH", 0x70, 0, key, 0, 10, bytes(4), *code, 0, 0x80, progress)
    others = b"".join(bytes([kind, len(rest)]) + rest for kind, rest in descriptors)
    body = others + bytes([2, 6, 0, 0, 0x80]) + progress.to_bytes(2, "big") + b"\0"
    described = bytes([0x72, key, *code, 0, 0, 0, len(body)]) + body
    one, other = scsi.Sense(fixed), scsi.Sense(described)
    assert (one.key, one.code, one.progress) == (other.key, other.code, other.progress)
    assert one.progress == (progress / 65536 if key in (0, 2) else None)
    assert one.sanitizing is (code == (4, 0x1B))


@given(
    extend=st.booleans(),
    error=st.integers(0, 255),
    status=st.integers(0, 255),
    count=st.integers(0, 0xFFFF),
    lba=st.integers(0, 2**48 - 1),
)
def test_registers_come_out_of_the_descriptor_as_they_went_in(
    extend: bool, error: int, status: int, count: int, lba: int
) -> None:
    low = lba.to_bytes(6, "little")
    descriptor = bytes([9, 12, extend, error, count >> 8, count & 0xFF])
    descriptor += bytes([low[3], low[0], low[4], low[1], low[5], low[2], 0x40, status])
    sense = scsi.Sense(bytes([0x72, 1, 0, 0x1D, 0, 0, 0, 14]) + descriptor)
    found = ata.Registers(sense.ata)
    assert (found.error, found.status, found.count, found.lba) == (error, status, count, lba)
    assert found.failed is bool(status & 0x21)
    assert (found.sanitized, found.sanitizing) == (bool(count & 0x8000), bool(count & 0x4000))


@given(nsid=st.integers(0, 2**32 - 1), cdw10=st.integers(0, 2**32 - 1), address=st.integers(0, 2**64 - 1))
def test_an_nvme_command_lies_where_the_kernel_looks_for_it(nsid: int, cdw10: int, address: int) -> None:
    raw = nvme.Command(0x80, nsid, cdw10, 7, 4096).encode(address, 1000)
    assert len(raw) == nvme.IOCTL_ADMIN >> 16 & 0x3FFF == 72
    assert struct.unpack_from("=B3xI", raw) == (0x80, nsid)
    assert struct.unpack_from("=QII", raw, 24) == (address, 0, 4096)
    assert struct.unpack_from("=II", raw, 40) == (cdw10, 7)
    assert struct.unpack_from("=I", raw, 64) == (1000,)


def test_nvme_commands_as_the_specification_has_them() -> None:
    assert nvme.sanitize(nvme.BLOCK).cdw10 == 0b1010
    assert nvme.sanitize(nvme.CRYPTO).cdw10 == 0b1100
    assert nvme.sanitize(nvme.OVERWRITE).cdw10 == 0b1_1011
    assert nvme.sanitize(nvme.EXIT_FAILURE).cdw10 == 1
    assert nvme.sanitize_log().cdw10 == 127 << 16 | 0x81
    assert (nvme.format_namespace(3, 0, nvme.CRYPTO_ERASE).nsid, nvme.format_namespace(3, 0, 2).cdw10) == (3, 2 << 9)


@given(index=st.integers(0, 63), inline=st.booleans(), protection=st.integers(0, 3), first=st.booleans())
def test_a_format_keeps_the_format_that_the_namespace_has(
    index: int, inline: bool, protection: int, first: bool
) -> None:
    data = bytearray(4096)
    data[26] = index & 0xF | inline << 4 | (index >> 4) << 5
    data[29] = protection | first << 3
    data[128 + 4 * index + 2] = 12
    namespace = nvme.Namespace(bytes(data))
    fields = nvme.format_namespace(1, namespace.format_fields, nvme.USER_DATA_ERASE).cdw10
    assert (fields & 0xF, fields >> 12 & 3) == (index & 0xF, index >> 4)
    assert (fields >> 4 & 1, fields >> 5 & 7, fields >> 8 & 1) == (inline, protection, first)
    assert (fields >> 9 & 7, namespace.block_bytes) == (1, 4096)


def test_scsi_commands_as_the_standard_has_them() -> None:
    assert scsi.sanitize(scsi.BLOCK).cdb.hex() == "48a20000000000000000"
    assert scsi.sanitize(scsi.CRYPTO).cdb.hex() == "48a30000000000000000"
    overwrite = scsi.sanitize(scsi.OVERWRITE)
    assert (overwrite.cdb.hex(), overwrite.data_out.hex()) == ("48a10000000000000800", "0100000400000000")
    assert scsi.sanitize(scsi.EXIT_FAILURE).cdb.hex() == "489f0000000000000000"
    assert scsi.ask_for_command(0x48, 2).cdb.hex() == "a30c02480002000000400000"
    assert scsi.ask_for_command(0x04, None).cdb.hex() == "a30c01040000000000400000"
    assert (scsi.format_unit().cdb.hex(), scsi.format_unit().data_out.hex()) == ("041000000000", "008a00002001000100")


def test_the_header_of_sg_io_is_as_long_as_the_kernels() -> None:
    header = scsi.sanitize(scsi.OVERWRITE).encode(0x1111, 0x2222, 0x3333, 60_000)
    assert len(header) == 88
    assert struct.unpack_from("=iiBBHIQQQI", header) == (83, -2, 10, 252, 0, 8, 0x1111, 0x2222, 0x3333, 60_000)


def test_ata_commands_as_the_standard_has_them() -> None:
    assert ata.identify().cdb.hex() == "85082e00000001000000000000" + "40ec00"
    # Extended, non-data; feature, count, then LBA (31:24) (7:0) (39:32) (15:8) (47:40) (23:16).
    assert (
        ata.sanitize(ata.CRYPTO).cdb.hex()
        == "850720" + "0011" + "0010" + "437000790072"[:0] + "437000790072" + "40b400"
    )
    assert ata.sanitize_status().cdb.hex() == "850720" + "0000" + "0000" + "000000000000" + "40b400"
    erase = ata.erase_unit(enhanced=True)
    assert erase.cdb.hex() == "850a26" + "0000" + "0001" + "000000000000" + "40f400"
    assert (len(erase.data_out), erase.data_out[:12]) == (512, b"\x02\0" + b"roundhouse")
    assert (
        ata.set_max(0x0102_0304_0506, accessible=False).cdb.hex()
        == "850720" + "0000" + "0001" + "030602050104" + "403700"
    )


def test_an_ata_disk_tells_the_times_and_the_state_of_its_security() -> None:
    word = [0] * 256
    word[82], word[83], word[128] = 1 << 1, 1 << 10, 0b10_1011
    word[89], word[90] = 0x8000 | 300, 5
    word[100], word[101] = 0x2000, 1
    told = ata.Identity(struct.pack("<256H", *word))
    assert (told.erase_s, told.enhanced_erase_s, told.sectors) == (36_000, 600, 0x1_2000)
    assert (told.security_enabled, told.security_locked, told.security_frozen) == (True, False, True)
    assert (told.has_enhanced, told.security_expired, told.sector_bytes) == (True, False, 512)

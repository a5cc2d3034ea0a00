"""What machines are found to be made of: firmware's tables, health pages, neighbours, and /sys."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import lldp as scapy_lldp
from scapy.layers.l2 import Ether

from images.agent import blockdev, bmc, disk_health, inventory, lldp, smbios
from tests.images.native.sandbox import GB, FakeDisk, machine
from tests.lab.namespace import in_namespace


def structure(kind: int, fields: dict[int, bytes], strings: list[str], length: int) -> bytes:
    """One SMBIOS structure whose formatted area has these bytes at these offsets."""
    area = bytearray(length)
    area[0], area[1], area[2:4] = kind, length, (kind << 4).to_bytes(2, "little")
    for offset, value in fields.items():
        area[offset : offset + len(value)] = value
    return bytes(area) + (b"".join(one.encode() + b"\0" for one in strings) or b"\0") + b"\0"


END = structure(127, {}, [], 4)
DIMM = structure(
    17,
    {
        8: (72).to_bytes(2, "little") + (64).to_bytes(2, "little"),
        12: (0x7FFF).to_bytes(2, "little"),
        16: bytes((1, 2, 0x1A)),
        21: (3200).to_bytes(2, "little"),
        23: bytes((3, 4, 0, 5)),
        28: (65536).to_bytes(4, "little"),
        32: (2933).to_bytes(2, "little"),
    },
    ["DIMM_A1", "BANK 0", "Samsung", "S123", "M393A8G40"],
    92,
)


def test_a_servers_tables_are_read() -> None:
    uuid = bytes.fromhex("33221100554477668899aabbccddeeff")
    table = b"".join(
        (
            structure(0, {4: bytes((1, 2)), 8: b"\3"}, ["AMI", "3.4", "10/27/2022"], 26),
            structure(1, {4: bytes((1, 2, 3, 4)), 8: uuid}, ["Supermicro", "SYS-1029P", "0123456789", "S42"], 27),
            structure(2, {4: bytes((1, 2, 0, 3))}, ["Supermicro", "X11DPU", "ZM1"], 15),
            structure(
                4,
                {
                    4: b"\1",
                    7: b"\2",
                    16: b"\3",
                    20: (4000).to_bytes(2, "little"),
                    24: b"\x41",
                    35: bytes((255, 0, 255)),
                    42: (300).to_bytes(2, "little"),
                    46: (600).to_bytes(2, "little"),
                },
                ["CPU1", "Intel", "Xeon"],
                48,
            ),
            structure(4, {4: b"\1"}, ["CPU2"], 48),
            DIMM,
            structure(17, {16: b"\1"}, ["DIMM_A2"], 34),
            structure(38, {4: bytes((1, 0x20)), 8: (0xCA3).to_bytes(8, "little")}, [], 18),
            structure(43, {4: b"IFX\0", 8: bytes((2, 0)), 18: b"\1"}, ["TPM 2.0"], 31),
            END,
        )
    )
    found = smbios.read(table)
    assert found["firmware"] == {"vendor": "AMI", "version": "3.4", "date": "10/27/2022"}
    assert found["system"]["uuid"] == "00112233-4455-6677-8899-aabbccddeeff"
    assert found["system"]["serial"] == "S42"
    assert found["board"] == {"vendor": "Supermicro", "product": "X11DPU", "version": "", "serial": "ZM1"}
    assert found["processors"] == [
        {"socket": "CPU1", "vendor": "Intel", "model": "Xeon", "max_mhz": 4000, "cores": 300, "threads": 600}
    ]
    assert found["dimm_sockets"] == 2
    assert found["dimms"] == [
        {
            "socket": "DIMM_A1",
            "bank": "BANK 0",
            "bytes": 64 << 30,
            "type": "DDR4",
            "ecc": True,
            "mts": 3200,
            "configured_mts": 2933,
            "vendor": "Samsung",
            "serial": "S123",
            "part": "M393A8G40",
        }
    ]
    assert found["ipmi"] == {"interface": "KCS", "ipmi": "2.0", "address": "io 0xca2"}
    assert found["tpm"]["vendor"] == "IFX"


@pytest.mark.parametrize(("size", "count"), [(4096, 4 << 30), (0x8200, 512 << 10), (0xFFFF, 0)])
def test_a_modules_size_counts_mebibytes_or_kibibytes(size: int, count: int) -> None:
    table = structure(17, {12: size.to_bytes(2, "little")}, [], 34) + END
    assert smbios.read(table)["dimms"][0]["bytes"] == count


_TEXT = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.integers(0, 126), st.binary(max_size=60), st.lists(_TEXT, max_size=4)), max_size=8))
def test_structures_come_out_as_they_were_put_in(given_ones: list[tuple[int, bytes, list[str]]]) -> None:
    table = b"".join(structure(kind, {4: area}, strings, 4 + len(area)) for kind, area, strings in given_ones)
    found = [(one.type, one.area[4:], one.strings) for one in smbios.structures(table + END)]
    assert found[:-1] == given_ones


@given(st.binary(max_size=300) | st.lists(st.sampled_from([DIMM, END, b"\x11\x22", b"\0\0"])).map(b"".join))
def test_junk_is_a_table_or_malformed(junk: bytes) -> None:
    with suppress(smbios.Malformed):
        assert smbios.read(junk)["dimm_sockets"] >= 0


def test_an_nvme_health_log_is_read() -> None:
    page = bytearray(512)
    page[0], page[1:3], page[3:6] = 0b101, (310).to_bytes(2, "little"), bytes((98, 10, 3))
    page[32:48], page[48:64] = (2000).to_bytes(16, "little"), (7).to_bytes(16, "little")
    page[128:144], page[160:176] = (12_345).to_bytes(16, "little"), (2).to_bytes(16, "little")
    found = disk_health.nvme(bytes(page))
    assert found["warnings"] == ["spare", "reliability"]
    assert (found["temperature_c"], found["spare_percent"], found["used_percent"]) == (37, 98, 3)
    assert (found["read_bytes"], found["written_bytes"]) == (1_024_000_000, 3_584_000)
    assert (found["power_on_hours"], found["media_errors"]) == (12_345, 2)


def test_ata_attributes_are_read() -> None:
    page = bytearray(512)
    for place, (number, raw) in enumerate(((5, 8), (9, 1 << 32 | 4000), (194, 0x0014_0028), (197, 1))):
        at = 2 + 12 * place
        page[at], page[at + 5 : at + 11] = number, raw.to_bytes(6, "little")
    page[511] = -sum(page) % 256
    found = disk_health.ata(bytes(page))
    assert found == {"reallocated_sectors": 8, "power_on_hours": 4000, "pending_sectors": 1, "temperature_c": 40}
    page[100] ^= 1
    with pytest.raises(disk_health.Malformed, match="checksum"):
        disk_health.ata(bytes(page))


@given(st.binary(max_size=520))
def test_a_health_page_of_junk_is_a_page_or_malformed(junk: bytes) -> None:
    for decode in (disk_health.nvme, disk_health.ata):
        with suppress(disk_health.Malformed):
            assert "temperature_c" in decode(junk)


def test_a_bmc_is_identified_by_its_answer() -> None:
    answer = bytes((0x20, 0x81, 0x03, 0x88, 0x02, 0xBF, 0x57, 0x01, 0x00, 0x00, 0x01))
    assert bmc.identity(answer) == {"firmware": "3.88", "ipmi": "2.0", "maker": 343, "product": 256}
    with pytest.raises(bmc.Silent):
        bmc.identity(answer[:6])


def neighbour(system: str, port: str) -> bytes:
    """A switch's LLDP frame, as scapy makes it."""
    return bytes(
        Ether(dst="01:80:c2:00:00:0e", src="02:00:00:00:00:01", type=0x88CC)
        / scapy_lldp.LLDPDUChassisID(subtype=4, id="02:00:00:00:00:01")
        / scapy_lldp.LLDPDUPortID(subtype=5, id=port)
        / scapy_lldp.LLDPDUTimeToLive(ttl=120)
        / scapy_lldp.LLDPDUPortDescription(description="to a server")
        / scapy_lldp.LLDPDUSystemName(system_name=system)
        / scapy_lldp.LLDPDUEndOfLLDPDU()
    )


def test_what_scapy_sends_is_understood() -> None:
    assert lldp.decode(neighbour("leaf1", "xe-0/0/12")[14:]) == {
        "chassis": "02:00:00:00:00:01",
        "port": "xe-0/0/12",
        "port_description": "to a server",
        "system": "leaf1",
        "system_description": "",
        "ttl_s": 120,
    }


@pytest.mark.parametrize(
    ("unit", "complaint"),
    [
        ("", "without its end"),
        ("0000", "type 0 in place 1"),
        ("0207040200000000010403056100", "type 2|without its end|cut off"),
        ("0207040200000000", "cut off"),
        ("02070402000000000102070402000000000106020078", "type 1 in place 2"),
    ],
    ids=["empty", "nothing before the end", "short", "cut", "chassis twice"],
)
def test_what_is_no_unit_is_malformed(unit: str, complaint: str) -> None:
    with pytest.raises(lldp.Malformed, match=complaint):
        lldp.decode(bytes.fromhex(unit))


@given(st.binary(max_size=80), st.integers(0, 200))
def test_junk_is_a_unit_or_malformed(junk: bytes, cut: int) -> None:
    for unit in (junk, neighbour("leaf1", "1")[14:][:cut] + junk):
        with suppress(lldp.Malformed):
            assert lldp.decode(unit)["port"].isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for network namespaces")
def test_a_neighbour_is_heard_on_a_card_that_was_off() -> None:
    namespace = f"g-lldp-{os.getpid()}"
    ip = ["ip", "-n", namespace]
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run([*ip, "link", "add", "card", "type", "veth", "peer", "name", "switch"], check=True)
        subprocess.run([*ip, "link", "add", "silent", "type", "veth", "peer", "name", "nobody"], check=True)
        subprocess.run([*ip, "link", "set", "switch", "up"], check=True)

        def hear() -> dict[str, lldp.Neighbour]:
            stop = threading.Event()

            def send() -> None:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
                    sock.bind(("switch", 0))
                    while not stop.wait(0.05):
                        for frame in (neighbour("leaf1", "xe-0/0/3")[:30], neighbour("leaf1", "xe-0/0/3")):
                            try:
                                sock.send(frame)
                            except OSError:
                                time.sleep(0.05)  # not up yet

            thread = threading.Thread(target=lambda: in_namespace(Path("/run/netns", namespace), send))
            thread.start()
            try:
                return lldp.listen(["card", "silent", "absent"], 1.5)
            finally:
                stop.set()
                thread.join()

        heard = in_namespace(Path("/run/netns", namespace), hear)
        assert {name: (one["system"], one["port"]) for name, one in heard.items()} == {"card": ("leaf1", "xe-0/0/3")}
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)


def test_details_are_read_from_sys(tmp_path: Path) -> None:
    def put(path: str, content: bytes | str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    (tmp_path / "sys/block").mkdir(parents=True)
    (tmp_path / "sys/class/net").mkdir(parents=True)
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    put("sys/firmware/dmi/tables/DMI", DIMM + END)
    put("sys/class/tpm/tpm0/tpm_version_major", "2\n")
    put("sys/kernel/boot_params/data", bytes(0x1EC) + b"\3")
    for slot, kind in (("0000:00:00.0", "0x060000"), ("0000:01:00.0", "0x010802")):
        put(f"sys/bus/pci/devices/{slot}/class", kind)
        for name, number in (("vendor", "0x144d"), ("device", "0xa824"), ("subsystem_vendor", "0x1028")):
            put(f"sys/bus/pci/devices/{slot}/{name}", number)
        put(f"sys/bus/pci/devices/{slot}/subsystem_device", "0x2043")
    found = inventory.details(str(tmp_path))
    assert found["smbios"]["dimms"][0]["socket"] == "DIMM_A1"
    assert (found["tpm"], found["secure_boot"]) == ("2.0", True)
    expected = {"slot": "0000:01:00.0", "class": "0108", "id": "144d:a824", "subsystem": "1028:2043", "driver": ""}
    assert found["pci"] == [expected]
    put("sys/firmware/dmi/tables/DMI", b"\x11\x02")
    assert "malformed" in inventory.details(str(tmp_path))["smbios"]


def test_serial_numbers_are_found_where_each_kind_of_driver_puts_them(tmp_path: Path) -> None:
    machine(tmp_path, (FakeDisk("nvme0n1", GB, serial="N1"), FakeDisk("sda", GB, vpd=" S2 "), FakeDisk("vda", GB)))
    (tmp_path / "sys/block/vda/device/vpd_pg80").write_bytes(b"\0\x80\0")
    found = {disk.path: disk.serial for disk in blockdev.disks(str(tmp_path / "sys/block"))}
    assert found == {"/dev/nvme0n1": "N1", "/dev/sda": "S2", "/dev/vda": ""}

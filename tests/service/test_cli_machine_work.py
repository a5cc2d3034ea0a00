"""What `roundhouse machine show` and `machine work` make of what an agent told."""

from __future__ import annotations

from typing import Any

from service.cli.machine_work import WORK, facts_of

INVENTORY: dict[str, Any] = {
    "system": {"sys_vendor": "House", "product_name": "Box", "product_serial": "S42"},
    "firmware": "uefi",
    "secure_boot": True,
    "cpu": {"model": "Xeon", "packages": 2, "cores": 16, "threads": 32, "microcode": "0x5003604"},
    "memory_bytes": 67_000_000_000,
    "smbios": {
        "firmware": {"vendor": "AMI", "version": "3.4", "date": "10/27/2022"},
        "dimm_sockets": 16,
        "dimms": [
            {
                "socket": "A1",
                "bytes": 32 << 30,
                "type": "DDR4",
                "mts": 3200,
                "configured_mts": 2933,
                "ecc": True,
                "vendor": "Samsung",
                "part": "M393",
                "serial": "D1",
            }
        ],
    },
    "disks": [
        {
            "path": "/dev/nvme0n1",
            "bytes": 960_197_124_096,
            "serial": "S1",
            "model": "PM9A3",
            "rotational": False,
            "firmware": "GDC5",
            "health": {"used_percent": 3, "temperature_c": 41, "media_errors": 2, "warnings": ["spare"]},
        }
    ],
    "nics": [
        {
            "name": "eth0",
            "mac": "02:01",
            "driver": "mlx5_core",
            "speed_mbps": 25_000,
            "carrier": True,
            "firmware": "16.35",
        },
        {"name": "eth1", "mac": "02:02", "driver": "mlx5_core", "speed_mbps": 0, "carrier": False},
    ],
    "lldp": [{"nic": "eth0", "mac": "02:01", "system": "leaf1", "port": "et-0/0/7"}],
    "bmc": {"present": True, "address": "10.0.0.7", "mac": "02:09", "firmware": "1.20"},
    "tpm": "2.0",
}


def test_an_inventory_is_told_in_rows() -> None:
    assert [(row["part"], row["fact"]) for row in facts_of(INVENTORY)] == [
        ("system", "House Box S42"),
        ("firmware", "AMI 3.4 10/27/2022, uefi, Secure Boot on"),
        ("processor", "Xeon (2 × 16 cores, 32 threads, microcode 0x5003604)"),
        ("memory", "62.4 GiB, 1 of 16 sockets"),
        ("  A1", "32 GiB DDR4 2933 MT/s ECC, Samsung M393 D1"),
        (
            "disk /dev/nvme0n1",
            "960 GB SSD PM9A3 S1 firmware GDC5, 3 % used, 41 °C, 2 media errors, warns of spare",
        ),
        ("card eth0", "02:01 mlx5_core 25 Gbit/s firmware 16.35, at leaf1 et-0/0/7"),
        ("card eth1", "02:02 mlx5_core no link firmware –"),
        ("BMC", "10.0.0.7 02:09 firmware 1.20"),
        ("TPM", "2.0"),
    ]


def test_what_a_hello_alone_tells_is_enough() -> None:
    told = {name: INVENTORY[name] for name in ("system", "firmware", "cpu", "memory_bytes", "disks", "nics")}
    parts = [row["part"] for row in facts_of(told)]
    assert parts == ["system", "firmware", "processor", "memory", "disk /dev/nvme0n1", "card eth0", "card eth1"]


def test_work_is_told_by_what_was_measured() -> None:
    told = dict(WORK)["TOLD"]
    assert callable(told)
    burnt = {
        "cpu": {"threads": 32, "slowest_rounds_per_s": 40.5, "wrong": 0, "temperature_c": 71},
        "memory": {"bytes": 60 << 30, "bytes_per_s": 2.5e10, "errors": 0},
        "disks": [{"path": "/dev/sda", "write_bytes_per_s": 1.8e8, "read_bytes_per_s": 2e8, "errors": 1}],
        "network": {"download_bytes_per_s": 1.1e9, "upload_bytes_per_s": 1e9, "retransmitted": 4, "errors": 0},
    }
    work = {"kind": "burn_in", "reason": None, "result": burnt}
    assert told(work) == (
        "cpu 32 × 40.5 rounds/s, 0 wrong, 71 °C; memory 60.0 GiB at 25000 MB/s, 0 errors; "
        "/dev/sda 180 and 200 MB/s, 1 errors; network 1100 and 1000 MB/s, 4 sent again, 0 errors"
    )
    assert told({"kind": "rescue", "reason": None, "result": {"host_keys": ["ssh-ed25519 AAAA"]}}) == "ssh-ed25519 AAAA"
    assert told({"kind": "firmware", "reason": None, "result": {"told": {"bios": "3.5"}}}) == "bios: 3.5"
    assert told({"kind": "erase", "reason": "erasing: gone", "result": {}}) == "erasing: gone"

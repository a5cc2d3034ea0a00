"""The built installer in a virtual machine: what it finds, burns in, lets in, runs, and outlives."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.images.test_inventory import neighbour
from tests.lab.installer_machine import MAC, SECOND_MAC, Machine, built, disk, running

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]

SMBIOS = (
    *("-smbios", "type=0,vendor=Round,version=1.2.3,date=02/03/2024"),
    *("-smbios", "type=1,manufacturer=House,product=Box,serial=S42,uuid=00112233-4455-6677-8899-aabbccddeeff"),
    *("-smbios", "type=2,manufacturer=House,product=Board,serial=B7"),
    *("-smbios", "type=17,loc_pfx=DIMM,bank=BANK0,manufacturer=Chips,serial=D1,part=P-1,speed=3200"),
)
BMC = ("-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0")


def test_it_tells_what_the_machine_is_made_of(tmp_path: Path) -> None:
    whole = "cloud" not in built().kernel_release  # the cloud kernel knows neither AHCI nor IPMI
    disks = (
        *disk(tmp_path, "one", 1 << 30, "nvme"),
        *disk(tmp_path, "two", 512 << 20, "ide-hd,bus=ide.0"),
        *disk(tmp_path, "three", 256 << 20, "virtio-blk-pci"),
    )
    with running(tmp_path, *SMBIOS, *BMC, *disks) as machine:
        service = machine.service
        machine.until(lambda: service.inventories >= 1)
        found = service.inventory
        assert found["system"]["product_serial"] == "S42"
        table = found["smbios"]
        assert table["firmware"] == {"vendor": "Round", "version": "1.2.3", "date": "02/03/2024"}
        assert table["system"]["uuid"] == "00112233-4455-6677-8899-aabbccddeeff"
        assert table["board"]["serial"] == "B7"
        [dimm] = table["dimms"]
        assert (dimm["socket"], dimm["bytes"], dimm["mts"], dimm["serial"]) == ("DIMM 0", 1 << 30, 3200, "D1")
        by_serial = {one["serial"]: one for one in found["disks"]}
        sata = {"SERIAL-two": 512 << 20} if whole else {}
        assert {name: one["bytes"] for name, one in by_serial.items()} == {
            "SERIAL-one": 1 << 30,
            "SERIAL-three": 256 << 20,
            **sata,
        }
        assert by_serial["SERIAL-one"]["health"]["warnings"] == []
        assert by_serial["SERIAL-one"]["health"]["temperature_c"] == 50
        assert not whole or by_serial["SERIAL-two"]["health"]["power_on_hours"] > 0
        assert by_serial["SERIAL-three"]["health"] == {}
        assert {nic["mac"] for nic in found["nics"]} == {MAC, SECOND_MAC}
        assert (found["firmware"], found["secure_boot"], found["tpm"]) == ("bios", False, "")
        assert {one["class"] for one in found["pci"]} >= {"0108", "0106", "0200"}
        if whole:
            assert found["bmc"] == {
                "present": True, "firmware": "0.00", "address": "", "mac": "", "ipmi": "2.0", "maker": 0, "product": 0,
            }  # fmt: skip

        def heard() -> bool:
            machine.send_frame(neighbour("leaf1", "xe-0/0/7"))
            return service.inventories >= 2

        machine.until(heard)
        [other_end] = service.inventory["lldp"]
        assert (other_end["mac"], other_end["system"], other_end["port"]) == (SECOND_MAC, "leaf1", "xe-0/0/7")
        print(machine.console()[-1500:])


def test_it_burns_in_lets_people_in_and_runs_a_bundle(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    disks = (*disk(tmp_path, "one", 256 << 20, "nvme"), *disk(tmp_path, "two", 128 << 20, "virtio-blk-pci"))
    with running(tmp_path, *disks) as machine:
        service = machine.service
        urls = {"download_url": f"{service.url}/large", "upload_url": f"{service.url}/agent/v1/sink"}
        parts = ["cpu", "memory", "disk", "network"]
        service.offer("w1", "burn_in", {"seconds": 20, "parts": parts, "memory_bytes": 64 << 20, **urls})
        machine.until(lambda: "w1" in service.ended, 240)
        what, body = service.ended["w1"]
        assert what == "done", body
        result = body["result"]
        print(result)
        assert (result["cpu"]["threads"], result["cpu"]["wrong"]) == (2, 0)
        assert (result["memory"]["bytes"], result["memory"]["errors"]) == (64 << 20, 0)
        assert {one["serial"]: one["errors"] for one in result["disks"]} == {"SERIAL-one": 0, "SERIAL-two": 0}
        assert all(one["verified_bytes"] == one["written_bytes"] > 0 for one in result["disks"])
        assert result["network"]["download_bytes_per_s"] > 0
        assert result["network"]["upload_bytes_per_s"] > 0
        assert {one["stage"] for one in service.progress} >= {f"burn-in {part}" for part in parts}
        assert any(one["bytes_per_s"] > 0 for one in service.progress)

        let_in(machine, key)
        ran(machine)
        service.offer("w4", "reboot", {})
        machine.until(lambda: "w4" in service.ended)
        assert machine.process.wait(60) == 0


def let_in(machine: Machine, key: Path) -> None:
    """A login by the published host key, which ends when the work is withdrawn."""
    service = machine.service
    public = key.with_suffix(".pub").read_text()
    service.offer("w2", "rescue", {"ssh_keys": [public], "port": 22, "addresses": []})
    machine.until(lambda: any(one.get("result", {}) for one in service.progress))
    told = next(one["result"] for one in service.progress if one.get("result"))
    known = key.with_name("known")
    known.write_text(f"[127.0.0.1]:{machine.ssh_port} {told['host_keys'][0]}\n")
    ssh = [
        *("ssh", "-p", str(machine.ssh_port), "-i", str(key), "-o", f"UserKnownHostsFile={known}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "root@127.0.0.1"),
    ]
    said = subprocess.run([*ssh, "uname -r; cat /proc/1/comm; mdadm --version"], capture_output=True, text=True)
    assert said.returncode == 0, (said.stderr, machine.console()[-3000:])
    assert built().kernel_release in said.stdout
    assert "mdadm" in said.stdout + said.stderr
    other = key.with_name("other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    refused = subprocess.run([*ssh[:4], str(other), *ssh[5:], "true"], capture_output=True, text=True)
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    with subprocess.Popen([*ssh, "sleep 600"], stderr=subprocess.DEVNULL) as login:
        with service.changed:
            service.withdrawn.add("w2")
            service.work.clear()
        polls = service.polls
        machine.until(lambda: service.polls > polls)
        assert login.wait(30) == 255  # nobody is left logged in
    closed = subprocess.run([*ssh, "true"], capture_output=True, text=True)
    assert closed.returncode == 255


def ran(machine: Machine) -> None:
    """An operator's program, and its word."""
    service, made = machine.service, io.BytesIO()
    script = b"#!/bin/sh\nls /sys/class/net >&2\necho '{\"flashed\": \"'$1'\"}'\n"
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        entry = tarfile.TarInfo("flash")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script))
    sha256 = hashlib.sha256(made.getvalue()).hexdigest()
    service.files["/bundle"] = made.getvalue()
    spec = {"url": f"{service.url}/bundle", "sha256": sha256, "program": "flash", "arguments": ["nic"], "limit_s": 60}
    service.offer("w3", "firmware", spec)
    machine.until(lambda: "w3" in service.ended)
    what, body = service.ended["w3"]
    assert what == "done", body
    assert body["result"]["told"] == {"flashed": "nic"}
    assert "eth0" in body["result"]["output"]


def test_it_outlives_a_service_that_goes_away_and_says_hello_again_when_its_session_has_ended(tmp_path: Path) -> None:
    with running(tmp_path, reboots=True) as machine:
        service = machine.service
        machine.until(lambda: service.polls >= 1)
        with service.changed:
            service.down = True
            service.changed.notify_all()
        machine.until(lambda: "again in 5" in machine.console(), 60)
        service.down = False
        polls = service.polls
        machine.until(lambda: service.polls > polls, 60)
        assert service.hellos == 1
        with service.changed:
            service.sessions += 1
            service.changed.notify_all()
        machine.until(lambda: service.hellos == 2 and service.polls > polls + 1, 120)

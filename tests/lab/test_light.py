"""A light machine against real boot servers: from power-on to a login, and what happens when something is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import asyncssh
import pytest

from images.protocol import EraseSpec, Work
from pxe.decide import Arch, Stage, Target
from service.lab.board import Installed, VirtualDisk
from service.lab.light import LightMachine
from service.lab.parts import Nic, PowerTarget
from tests.lab.small_service import MAP, Port, SmallService, boot_port, public_link, small_service

NUMBER = 12


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[SmallService]:
    async with small_service(tmp_path) as running:
        yield running


@pytest.fixture
def port(service: SmallService) -> Port:
    return boot_port(NUMBER, service.server)


@pytest.fixture
async def machine(service: SmallService, port: Port) -> AsyncIterator[LightMachine]:
    light = LightMachine("m1", Nic("52:54:00:00:01:01", port), service.settings, random=Random(1))
    target: PowerTarget = light
    yield light
    await target.power_off()


def install(service: SmallService, key: asyncssh.SSHKey | None = None, **changes: object) -> Work:
    keys = [key.export_public_key().decode().strip()] if key else []
    return {"id": "w1", "kind": "install", "spec": service.spec(NUMBER, keys, **changes)}


async def reaches(machine: LightMachine, stage: str) -> None:
    async with asyncio.timeout(60):
        while machine.stage != stage:
            await asyncio.sleep(0.01)


async def host_key(service: SmallService) -> str:
    """The key that the machine's SSH server shows to the world."""
    key = await asyncssh.get_server_host_key(str(public_link(NUMBER).host.ip), service.settings.ssh_port)
    assert key is not None
    return key.export_public_key().decode().strip()


async def listens(service: SmallService, *, no_longer: bool = False) -> None:
    """Wait until the machine's SSH server is there, or gone."""
    async with asyncio.timeout(60):
        while True:
            try:
                await host_key(service)
            except OSError:
                if no_longer:
                    return
            else:
                if not no_longer:
                    return
            await asyncio.sleep(0.02)


async def test_power_on_to_login(service: SmallService, port: Port, machine: LightMachine) -> None:
    login = asyncssh.generate_private_key("ssh-ed25519")
    await machine.power_on("none")
    await service.until(lambda: bool(service.hellos))
    assert [asked.stage for asked in service.requests] == [
        *[Stage.FIRMWARE] * 2,
        *[Stage.IPXE] * 2,
        *[Stage.SYSTEM] * 2,
    ]
    first = service.requests[0]
    assert (first.circuit_id, first.remote_id, first.mac) == (f"xe-0/0/{NUMBER}.0", "leaf1", "52:54:00:00:01:01")
    assert first.giaddr == port.relay_source
    assert service.hellos[0]["inventory"]["disks"][0]["serial"] == "LIGHT-m1"

    service.work.append(install(service, login))
    await service.heard()
    await service.until(lambda: "w1" in service.done)
    result = service.done["w1"]["result"]
    assert result["handover"] == "switch_root"
    assert result["bytes_written"] == MAP.disk_bytes
    assert service.progress[-1]["percent"] == 100

    # The leaf does not carry the public link yet: nobody gets in, and nothing comes out.
    await reaches(machine, "system")
    with pytest.raises(OSError):
        await host_key(service)
    assert not service.phoned
    port.add(public_link(NUMBER))
    await service.until(lambda: bool(service.phoned))
    assert service.phoned == [(str(public_link(NUMBER).host.ip), {"instance_id": f"instance-{NUMBER}"})]
    assert await host_key(service) == " ".join(result["host_keys"][0].split()[:2])

    address = str(public_link(NUMBER).host.ip)
    options = {"known_hosts": None, "username": "root", "config": None}
    async with asyncssh.connect(address, service.settings.ssh_port, client_keys=[login], **options) as connection:
        assert (await connection.run("uptime")).stdout == "uptime\n"
        port.remove(public_link(NUMBER))
        async with asyncio.timeout(60):
            await connection.wait_closed()
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    port.add(public_link(NUMBER))
    await listens(service)
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(address, service.settings.ssh_port, client_keys=[stranger], **options)


async def test_the_disk_outlives_the_power_and_the_reboot(
    service: SmallService, port: Port, machine: LightMachine
) -> None:
    """Hand-over by reboot, then iPXE's way to the disk; the host key stays."""
    port.add(public_link(NUMBER))
    service.work.append(install(service, handover=["reboot"]))
    await machine.power_on("pxe")
    await service.until(lambda: "w1" in service.done)
    service.target = Target.LOCAL_DISK
    await service.until(lambda: len(service.phoned) == 1)
    shown = await host_key(service)
    await machine.power_off()
    assert (machine.powered, machine.stage) == (False, "off")
    with pytest.raises(OSError):
        await host_key(service)
    asked = len(service.requests)
    await machine.power_on("disk")
    await service.until(lambda: len(service.phoned) == 2)
    assert await host_key(service) == shown
    assert len(service.requests) == asked, "a boot from disk asks no DHCP server"


async def test_uefi_goes_on_to_the_disk_by_itself(tmp_path: Path) -> None:
    async with small_service(tmp_path, server="127.78.255.2", arch=Arch.UEFI_X64) as service:
        service.target = Target.LOCAL_DISK
        port = boot_port(NUMBER, service.server)
        port.add(public_link(NUMBER))
        installed = Installed(service.spec(NUMBER, []), *_key_pair())
        machine = LightMachine(
            "m1", Nic("52:54:00:00:01:01", port), service.settings, disks=[VirtualDisk(installed=installed)]
        )
        await machine.power_on("none")
        await service.until(lambda: bool(service.phoned))
        await machine.power_off()


def _key_pair() -> tuple[str, str]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key.export_private_key().decode(), key.export_public_key().decode()


async def test_an_empty_disk_falls_through_to_the_network(service: SmallService, machine: LightMachine) -> None:
    await machine.power_on("disk")
    await service.until(lambda: bool(service.hellos))


async def test_erase_leaves_evidence_and_an_empty_disk(service: SmallService, machine: LightMachine) -> None:
    machine.disks[0].installed = Installed(service.spec(NUMBER, []), *_key_pair())
    service.work.append({"id": "w2", "kind": "erase", "spec": EraseSpec(disks=[], sample_count=64, limit_s=3600)})
    await machine.power_on("pxe")
    await service.until(lambda: "w2" in service.done)
    assert service.done["w2"]["result"]["disks"] == [
        {
            "path": "/dev/vda",
            "serial": "LIGHT-m1",
            "bytes": 480 * 10**9,
            "controller": "block",
            "model": "",
            "firmware": "",
            "method": "discard-zeroes",
            "seconds": 0.0,
            "attempts": [{"method": "discard-zeroes", "outcome": "done", "reason": "", "seconds": 0.0}],
            "hidden": [],
            "samples_read": 64,
            "samples_clean": 64,
            "samples_old": 0,
            "verdict": "zeros",
        }
    ]
    assert machine.disks[0].installed is None
    service.work.append({"id": "w3", "kind": "reboot", "spec": {}})
    await service.heard()
    await service.until(lambda: len(service.hellos) == 2)


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"storage": {"disks": [{"path": "/dev/nvme7n1"}], "raid": "none", "lvm": False, "passphrase": ""}}, "disk"),
        ({"image": {"url": "", "bytes": 1, "map_url": "", "map_sha256": "0" * 64, "disk_bytes": 10**15}}, "disk"),
        ("wrong hash", "image"),
    ],
)
async def test_an_install_that_cannot_be_done_is_reported(
    service: SmallService, machine: LightMachine, changes: object, stage: str
) -> None:
    if not isinstance(changes, dict):
        changes = {"image": service.spec(NUMBER, [])["image"] | {"map_sha256": "0" * 64}}
    service.work.append(install(service, **changes))
    await machine.power_on("pxe")
    await service.until(lambda: "w1" in service.failed)
    assert service.failed["w1"]["stage"] == stage
    assert machine.disks[0].installed is None
    await reaches(machine, "agent")


async def test_a_power_cut_in_the_install_leaves_no_bootable_disk(tmp_path: Path) -> None:
    async with small_service(tmp_path, server="127.78.255.3", disk_bytes_per_s=1e6) as service:
        port = boot_port(NUMBER, service.server)
        machine = LightMachine("m1", Nic("52:54:00:00:01:01", port), service.settings)
        machine.disks[0].installed = Installed(service.spec(NUMBER, []), *_key_pair())
        service.work.append(install(service))
        await machine.power_on("pxe")
        await service.until(lambda: bool(service.progress))
        await machine.power_off()
        assert machine.disks[0].installed is None
        assert not service.done


async def test_lost_dhcp_messages_and_a_service_that_is_away_for_a_while(
    service: SmallService, port: Port, machine: LightMachine
) -> None:
    port.add(public_link(NUMBER))
    machine.faults.lose_dhcp = 0.1
    service.http_down = 3
    service.work.append(install(service))
    await machine.power_on("none")
    await service.until(lambda: bool(service.phoned))


@pytest.mark.parametrize(
    "stage", ["post", "dhcp", "first-stage", "ipxe", "kernel", "agent", "install", "handover", "system"]
)
async def test_it_hangs_where_it_is_told_to_until_the_power_goes(
    service: SmallService, port: Port, machine: LightMachine, stage: str
) -> None:
    port.add(public_link(NUMBER))
    machine.faults.hang_at = stage  # type: ignore[assignment]
    service.work.append(install(service))
    await machine.power_on("none")
    await reaches(machine, stage)
    await asyncio.sleep(0.2)
    assert machine.stage == stage
    assert not service.phoned
    machine.faults.hang_at = None
    await machine.power_off()
    if stage in ("handover", "system"):  # the work was done, so it is not handed out again
        service.target = Target.LOCAL_DISK
    await machine.power_on("none")
    await service.until(lambda: bool(service.phoned))


async def test_a_dead_card_and_a_silent_system(service: SmallService, port: Port, machine: LightMachine) -> None:
    port.add(public_link(NUMBER))
    machine.faults.never_phones_home = True
    machine.disks[0].installed = Installed(service.spec(NUMBER, []), *_key_pair())
    await machine.power_on("disk")
    await reaches(machine, "system")
    await listens(service)
    assert not service.phoned
    machine.faults.dead_nic = True
    await listens(service, no_longer=True)


async def test_a_wrong_cable_is_seen_by_its_circuit_id(service: SmallService, machine: LightMachine) -> None:
    machine.nic = Nic(machine.nic.mac, boot_port(14, service.server))
    await machine.power_on("none")
    await service.until(lambda: bool(service.hellos))
    assert {asked.circuit_id for asked in service.requests} == {"xe-0/0/14.0"}


async def test_a_port_without_configuration_is_silent(service: SmallService, machine: LightMachine, port: Port) -> None:
    link = port.links[0]
    port.remove(link)
    await machine.power_on("none")
    await asyncio.sleep(1)
    assert not service.requests
    port.add(link)
    await service.until(lambda: bool(service.hellos))


async def test_a_customers_script_phones_home_by_itself(service: SmallService, machine: LightMachine) -> None:
    service.target = Target.CUSTOM_IPXE
    service.custom = (
        "#!ipxe\nparams\nparam type provisioning.104.01\nparam body Device ${net0/mac}\n"
        f"imgfetch {service.url}/phone-home##params ||\nkernel {service.url}/boot/files/vmlinuz console=ttyS0\nboot"
    )
    await machine.power_on("none")
    await reaches(machine, "foreign")
    assert service.posts == [{"type": "provisioning.104.01", "body": "Device 52:54:00:00:01:01"}]


async def test_a_hundred_machines_at_once(service: SmallService) -> None:
    """They share a process, a relay each, and come through."""
    ports = [boot_port(number, service.server) for number in range(20, 120)]
    machines = [
        LightMachine(f"m{number}", Nic(f"52:54:00:00:02:{number:02x}", port), service.settings)
        for number, port in enumerate(ports)
    ]
    for machine in machines:
        await machine.power_on("none")
    try:
        await service.until(lambda: len(service.hellos) == len(machines))
        assert len({hello["mac"] for hello in service.hellos}) == len(machines)
    finally:
        await asyncio.gather(*(machine.power_off() for machine in machines))

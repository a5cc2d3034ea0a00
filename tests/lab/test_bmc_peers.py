"""The BMC drivers against BMCs of others' making: sushy-tools' Redfish emulator and OpenIPMI's IPMI 2.0 simulator."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest

from service.bmcs import Bmc, open_bmc
from service.lab.ports import free_port
from service.power.certificates import shown_certificate
from service.power.errors import BmcChanged, BmcLied, BmcLoginRefused, BmcRefused, BmcUnreachable
from service.power.ipmi import Ipmi, boot_flags
from service.power.redfish import Redfish
from tests.lab.test_bmc_care import self_signed

pytest.importorskip("sushy_tools")

FIRST, SECOND = "27946b59-9e44-4fa7-8e91-f3527a1ef094", "27946b59-9e44-4fa7-8e91-f3527a1ef095"


async def stopped(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


@pytest.fixture
async def sushy(tmp_path: Path) -> AsyncIterator[str]:
    """The emulator's URL, over TLS with a certificate of its own, with two systems behind it."""
    port = free_port(socket.SOCK_STREAM)
    self_signed(tmp_path, "sushy")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"admin:{hashed}\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "sushy.conf").write_text(
        f"""
SUSHY_EMULATOR_STATE_DIR = {str(tmp_path / "state")!r}
SUSHY_EMULATOR_AUTH_FILE = {str(tmp_path / "users")!r}
SUSHY_EMULATOR_SSL_CERT = SUSHY_EMULATOR_SSL_KEY = {str(tmp_path / "sushy.pem")!r}
SUSHY_EMULATOR_FAKE_SYSTEMS = [
    {{"uuid": uuid, "name": uuid[-4:], "power_state": "Off", "nics": []}} for uuid in ({FIRST!r}, {SECOND!r})
]
"""
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sushy_tools.emulator.main", "--fake", "-i", "127.0.0.1", "-p", str(port)),
        *("--config", str(tmp_path / "sushy.conf")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"https://127.0.0.1:{port}"
        async with asyncio.timeout(60):
            while True:
                try:
                    await shown_certificate(url)
                    break
                except BmcUnreachable:
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
        yield url
    finally:
        await stopped(process)


async def test_sushy_tools_emulator_is_switched_and_booted(sushy: str) -> None:
    fingerprint = await shown_certificate(sushy)
    first, second = (f"{sushy}/redfish/v1/Systems/{uuid}" for uuid in (FIRST, SECOND))
    async with open_bmc(first, "admin", "secret", fingerprint) as bmc:
        await bmc.set_boot_once("disk")
        await bmc.set_boot_once("pxe")
        await bmc.power_on()
        assert await bmc.power_state() == "on"
        await bmc.locate(True)
        await bmc.locate(False)
        found = await bmc.evidence()
        assert found["system"]["Manufacturer"] == "Sushy Emulator" and found["health"]["system"] == "OK"
        assert {"name": "CPU Temp", "value": 41, "unit": "°C", "health": "OK"} in found["sensors"]
        assert found["bmc"][0]["FirmwareVersion"] == "1.00"
    async with Redfish(second, "admin", "secret", fingerprint) as redfish:
        body = await redfish.read(await redfish.system())
        assert body["PowerState"] == "Off" and body["IndicatorLED"] == "Lit", "the other system is as it was"
        assert body["Boot"]["BootSourceOverrideTarget"] == "Hdd"
        await redfish.reset("On")
        await redfish.until(lambda shown: shown["PowerState"] == "On", "power on")
        await redfish.power_off()
    async with Redfish(sushy, "admin", "secret", fingerprint) as redfish:
        with pytest.raises(BmcRefused, match="2 systems"):
            await redfish.power_state()
        with pytest.raises(BmcRefused, match="no account"):
            await redfish.change_password("other")
    async with Redfish(first, "admin", "wrong", fingerprint) as redfish:
        with pytest.raises(BmcLoginRefused):
            await redfish.power_state()
    async with Redfish(first, "admin", "secret", "00" * 32) as redfish:
        with pytest.raises(BmcChanged):
            await redfish.power_state()


_CHASSIS = """#!/bin/sh
op=$1
shift
case $op in
get) for name in "$@"; do echo "$name:$(cat "{state}/$name" 2>/dev/null || echo 0)"; done ;;
set)
    while [ $# -gt 0 ]; do
        echo "$1 $2" >> "{state}/asked"
        [ -e "{state}/deaf" ] || echo "$2" > "{state}/$1"
        shift 2
    done ;;
esac
"""


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The simulator's URL, and the folder of what its machine was told."""
    for program, package in (("ipmi_sim", "openipmi"), ("ipmitool", "ipmitool")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: Debian's package {package}")
    port, state = free_port(socket.SOCK_DGRAM), tmp_path / "chassis"
    state.mkdir()
    script = tmp_path / "chassis.sh"
    script.write_text(_CHASSIS.format(state=state))
    script.chmod(0o755)
    (tmp_path / "lan.conf").write_text(
        f"""name "simulator"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{script}"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "admin" "secret" admin 10 none md2 md5 straight
"""
    )
    (tmp_path / "commands").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
        "sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"
        "sel_add 0x20 0x02 0x20 0 0x04 0x0c 0x01 0x6f 0x01 0xff 0xff 0 0 0 0\n"
    )
    (tmp_path / "kept").mkdir()
    process = await asyncio.create_subprocess_exec(
        *("ipmi_sim", "-c", str(tmp_path / "lan.conf"), "-f", str(tmp_path / "commands")),
        *("-s", str(tmp_path / "kept"), "-n"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"ipmi://127.0.0.1:{port}"
        async with asyncio.timeout(60):
            while not await _answers(url):
                assert process.returncode is None
        yield url, state
    finally:
        await stopped(process)


async def _answers(url: str) -> bool:
    try:
        async with Ipmi(url, "admin", "secret", retries=0) as bmc:
            await bmc.power_state()
    except BmcUnreachable:
        return False
    return True


async def test_an_ipmi_simulator_is_switched_and_booted(simulator: tuple[str, Path]) -> None:
    url, state = simulator
    async with open_bmc(url, "admin", "secret") as bmc:
        assert await bmc.power_state() == "off"
        await bmc.set_boot_once("pxe")
        assert (state / "boot").read_text() == "pxe\n"
        await bmc.power_on()
        assert (state / "power").read_text() == "1\n"
        await bmc.set_boot_once("disk")
        assert (state / "boot").read_text() == "default\n", "its word for the disk"
        await bmc.power_cycle()
        told = [line for line in (state / "asked").read_text().splitlines() if line.startswith("power")]
        assert told == ["power 1", "power 0", "power 1"]
        await bmc.locate(True)
        await bmc.locate(False)
        found = await bmc.evidence()
        assert [(one["log"], one["id"]) for one in found["log"]] == [("SEL", "1")]
        assert found["power"] == "on" and found["bmc"] == [{"make": 4753, "firmware": "9.08"}]
    async with Ipmi(url, "admin", "secret", deadline_s=0.2, poll_s=0.1) as ipmi:
        (state / "deaf").touch()
        with pytest.raises(BmcLied, match="power off"):
            await ipmi.power_off()


async def test_an_ipmi_password_is_changed_and_never_an_argument(
    simulator: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = simulator
    told: list[tuple[str, ...]] = []
    spawn = asyncio.create_subprocess_exec

    async def watched(*words: str, **options: object) -> asyncio.subprocess.Process:
        told.append(words)
        return await spawn(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    async with Ipmi(url, "admin", "secret") as bmc:
        await bmc.change_password("a new secret")
        with pytest.raises(BmcLoginRefused, match="admin"):
            await bmc.power_state()
        with pytest.raises(BmcRefused, match="20 bytes"):
            await bmc.change_password("x" * 21)
    async with Ipmi(url, "admin", "a new secret") as bmc:
        assert await bmc.power_state() == "off"
        console = await bmc.serial_console()
        assert console.environment["IPMI_PASSWORD"] == "a new secret" and "secret" not in repr(console)
    assert told and not any("secret" in word for words in [*told, console.words] for word in words)


async def test_an_ipmi_bmc_that_is_not_there() -> None:
    if shutil.which("ipmitool") is None:
        pytest.skip("ipmitool is not installed: Debian's package ipmitool")
    bmc: Bmc
    async with Ipmi(f"ipmi://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", "admin", "secret", retries=0) as bmc:
        with pytest.raises(BmcUnreachable, match="no answer"):
            await bmc.power_on()


@pytest.mark.parametrize(
    ("target", "efi", "flags"),
    [("pxe", True, "a0 04 00 00 00"), ("pxe", False, "80 04 00 00 00"), ("disk", True, "a0 08 00 00 00")],
    ids=["pxe-efi", "pxe-bios", "disk-efi"],
)
def test_boot_flags(target: str, efi: bool, flags: str) -> None:
    assert boot_flags(target, efi=efi).hex(" ") == flags  # type: ignore[arg-type]

"""The care of BMCs: sessions, certificates, evidence, LED, restart, passwords that are changed whoever is killed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.bmcs import bmc_of, change_bmc_password, service_of, trust_bmc
from service.cli.main import main
from service.lab.bmc import Credentials, VirtualBmc
from service.lab.bmc_care import Entry
from service.power.certificates import shown_certificate
from service.power.errors import BmcChanged, BmcLied, BmcLoginRefused, BmcRefused
from service.power.redfish import Redfish
from service.secrets import KeyRing, load_keys, open_sealed, seal
from service.store.hardware import Machine, machine_by_id
from tests.lab.test_bmc import Machine as Powered
from tests.service.api_world import TOKEN, World, open_world


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """A certificate that nobody but itself has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=1))
    signed = made.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
async def world(db: object, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(db, database_url, tmp_path) as running:
        yield running


@pytest.fixture
async def bmc() -> AsyncIterator[VirtualBmc]:
    async with VirtualBmc(
        [Powered("m0"), Powered("m1")], "127.0.0.1", 0, Credentials("admin", "first password")
    ) as running:
        yield running


async def enrolled(world: World, bmc: VirtualBmc, ring: KeyRing) -> Machine:
    """Two machines behind one service; the first of them."""
    ids = await world.add_machines(2)
    for number, machine in enumerate(ids):
        await world.db.execute(
            "UPDATE machine SET bmc_url = $2, bmc_username = 'admin', bmc_secret = $3 WHERE id = $1",
            machine,
            bmc.system_url(f"m{number}"),
            seal(ring, "first password"),
        )
    return await machine_by_id(world.db, ids[0])


async def test_a_service_that_refuses_basic_is_logged_in_to_and_out_of(bmc: VirtualBmc) -> None:
    bmc.care.basic = False
    async with Redfish(bmc.system_url("m0"), "admin", "first password", poll_s=0.02) as redfish:
        await redfish.power_on()
        assert len(bmc.care.tokens) == 1, "one login for all calls"
    assert not bmc.care.tokens
    async with Redfish(bmc.system_url("m0"), "admin", "wrong", poll_s=0.02) as redfish:
        with pytest.raises(BmcLoginRefused, match="admin"):
            await redfish.power_state()


async def test_evidence_led_and_restart(bmc: VirtualBmc) -> None:
    bmc.care.log.append(Entry("2026-11-21T12:00:00Z", "Critical", "DIMM A1 uncorrectable error"))
    bmc.care.celsius = 80
    async with Redfish(bmc.system_url("m0"), "admin", "first password", poll_s=0.02) as redfish:
        found = await redfish.evidence()
        assert found["log"] == [
            {
                "log": "Sel",
                "id": "1",
                "at": "2026-11-21T12:00:00Z",
                "severity": "Critical",
                "message": "DIMM A1 uncorrectable error",
            }
        ]
        assert found["sensors"] == [{"name": "Inlet", "value": 80, "unit": "Cel", "health": None}]
        assert found["health"]["chassis 1"] == "Critical"
        assert found["firmware"] == [{"Name": "System BIOS", "Version": "1.4.2", "Id": "BIOS"}]
        assert found["bmc"] == [{"Name": "BMC", "FirmwareVersion": "2.71"}]
        for on, led in ((True, "Blinking"), (False, "Off")):
            await redfish.locate(on)
            assert (await redfish.read(await redfish.system()))["IndicatorLED"] == led
        await redfish.reset_bmc()
    assert bmc.care.restarts == 1


async def test_the_certificate_that_was_seen_first_is_the_only_one(world: World, tmp_path: Path) -> None:
    ring, credentials = load_keys(tmp_path), Credentials("admin", "first password")
    first = VirtualBmc([Powered("m0"), Powered("m1")], "127.0.0.1", 0, credentials, self_signed(tmp_path, "first"))
    async with first:
        machine = await enrolled(world, first, ring)
        async with bmc_of(world.db, ring, machine) as bmc:
            await bmc.power_on()
        shown = await shown_certificate(first.url)
    machine = await machine_by_id(world.db, machine.id)
    assert machine.bmc_fingerprint == shown and shown is not None
    events = await world.db.fetch("SELECT body FROM event WHERE type = 'machine.bmc_trusted'")
    assert len(events) == 2 and all(shown in row["body"] for row in events), "both machines behind that service"
    port = int(first.url.rpartition(":")[2])
    second = VirtualBmc([Powered("m0")], "127.0.0.1", port, credentials, self_signed(tmp_path, "second"))
    async with second:
        with pytest.raises(BmcChanged, match="bmc-trust"):
            async with bmc_of(world.db, ring, machine) as bmc:
                await bmc.power_off()
        again = await trust_bmc(world.db, machine)
        assert again not in (None, shown)
        async with bmc_of(world.db, ring, await machine_by_id(world.db, machine.id)) as bmc:
            assert await bmc.power_state() == "off"


async def test_a_certificate_that_nobody_signed_is_not_taken_unseen(tmp_path: Path) -> None:
    credentials = Credentials("admin", "first password")
    async with (
        VirtualBmc([Powered("m0")], "127.0.0.1", 0, credentials, self_signed(tmp_path, "own")) as bmc,
        Redfish(bmc.url, "admin", "first password", poll_s=0.01) as redfish,
    ):
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            await redfish.power_state()


async def test_a_password_is_changed_for_all_that_share_it(world: World, bmc: VirtualBmc, tmp_path: Path) -> None:
    ring = load_keys(tmp_path)
    machine = await enrolled(world, bmc, ring)
    assert await change_bmc_password(world.db, ring, machine) == ["m0", "m1"]
    secrets = [open_sealed(ring, row["bmc_secret"]) for row in await world.db.fetch("SELECT bmc_secret FROM machine")]
    assert secrets == [bmc.care.password] * 2 and bmc.care.password != "first password"
    bmc.care.forgets_password = True
    with pytest.raises(BmcLied):
        await change_bmc_password(world.db, ring, await machine_by_id(world.db, machine.id))
    assert not await world.db.fetchval("SELECT count(*) FROM bmc_password")
    async with bmc_of(world.db, ring, await machine_by_id(world.db, machine.id)) as opened:
        await opened.power_on()


async def test_whoever_is_killed_while_a_password_changes_leaves_a_bmc_that_opens(
    world: World, bmc: VirtualBmc, tmp_path: Path
) -> None:
    ring, random = load_keys(tmp_path), Random(3)
    machine = await enrolled(world, bmc, ring)
    for name in ("m0", "m1"):
        bmc.faults(name).answer_s = 0.002
    seen = set()
    for _ in range(25):
        task = asyncio.create_task(change_bmc_password(world.db, ring, machine))
        await asyncio.sleep(random.random() / 8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        machine = await machine_by_id(world.db, machine.id)
        async with bmc_of(world.db, ring, machine) as opened:
            await opened.power_state()
        coming = await world.db.fetchval("SELECT count(*) FROM bmc_password")
        seen.add((coming, open_sealed(ring, machine.bmc_secret) == bmc.care.password))
    assert await change_bmc_password(world.db, ring, machine) == ["m0", "m1"]
    machine = await machine_by_id(world.db, machine.id)
    assert open_sealed(ring, machine.bmc_secret) == bmc.care.password
    assert (0, False) not in seen, "a password that nobody knows any more"


async def test_operators_care_for_a_bmc_at_the_terminal(
    world: World,
    bmc: VirtualBmc,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await enrolled(world, bmc, load_keys(tmp_path))
    bmc.care.log.append(Entry("2026-11-21T12:00:00Z", "Warning", "fan 3 slow"))
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)

    async def says(*words: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main, ["--api", world.url, "machine", *words])
        told = capsys.readouterr()
        return status, told.out + told.err

    status, text = await says("bmc", "m0")
    assert status == 0 and "fan 3 slow" in text and "Inlet" in text and "1.4.2" in text
    assert (await says("locate", "m0", "--seconds", "0"))[1].endswith("m0 blinks\n")
    assert (await says("locate", "m0", "--off"))[1].endswith("m0 blinks no more\n")
    assert (await says("bmc-reset", "m0"))[0] == 0 and bmc.care.restarts == 1
    status, text = await says("bmc-password", "m1")
    assert status == 0 and "m0, m1" in text and bmc.care.password not in text
    status, text = await says("bmc-trust", "m0")
    assert status == 0 and "-" in text, "there is no TLS"
    assert (await says("bmc", "m9"))[0] == 1
    bmc.care.password = "changed behind our back"
    status, text = await says("bmc", "m0")
    assert status == 1 and "BmcLoginRefused" in text and "first password" not in text


def test_machines_behind_one_service_are_known_by_its_address() -> None:
    assert service_of("https://10.0.0.1/redfish/v1/Systems/1") == "https://10.0.0.1"
    assert service_of("ipmi://10.0.0.1:624?firmware=bios") == "ipmi://10.0.0.1:624"


async def test_a_machine_without_an_led_is_refused(bmc: VirtualBmc) -> None:
    class Bare(Redfish):
        """A service that tells little."""

        async def read(self, url: str) -> dict[str, object]:
            found = dict(await super().read(url))
            return {name: value for name, value in found.items() if name != "IndicatorLED"}

    async with Bare(bmc.system_url("m0"), "admin", "first password") as redfish:
        with pytest.raises(BmcRefused, match="no LED"):
            await redfish.locate(True)

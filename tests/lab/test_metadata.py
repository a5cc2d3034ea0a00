"""Metadata and phone-home as the machines of a rack see them: each by its own address, and by nobody else's."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.lab.up import Lab, LabSettings
from service.metadata.heard import MESSAGES
from tests.lab.world import KEY, Customer, lab

EC2 = "/2009-04-04"
_Call = tuple[str, str, bytes | None, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at an address of the rack, who asks the metadata service."""

    url: str
    address: str

    async def call(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, body and headers; nothing of the path is put right on the way."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(self.address, 0))) as session,
            session.request(
                method, self.url + path, data=content, headers=headers, skip_auto_headers=("Content-Type",)
            ) as answer,
        ):
            return answer.status, await answer.text(), answer.headers

    async def json(self, path: str) -> Any:
        status, text, _ = await self.call("GET", path)
        assert status == 200, text
        return json.loads(text)


def public_address(device: Mapping[str, Any]) -> str:
    return str(next(one["address"] for one in device["ip_addresses"] if one["public"] and one["address_family"] == 4))


async def events(customer: Customer, device_id: str) -> list[dict[str, Any]]:
    """All of the device's events, the first one first."""
    _, body = await customer.call("GET", f"/devices/{device_id}/events?per_page=1000")
    return list(reversed(body["events"]))


def speaker(running: Lab, device: Mapping[str, Any]) -> Caller:
    return Caller(running.service.parts.boot_url, public_address(device))


async def test_each_machine_reads_its_own_and_nobody_elses(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        cloud, ignition = "#cloud-config\nhostname: web\n", '{"ignition": {"version": "3.3.0"}}'
        orders = [
            await customer.order(0, userdata=cloud, tags=["a", "b c"], customdata={"error": 1}),
            await customer.order(1, userdata=ignition),
        ]
        devices = [await customer.until(order, "active") for order in orders]
        first, second = [speaker(running, device) for device in devices]

        for caller, device, userdata in zip((first, second), devices, (cloud, ignition), strict=True):
            told = await caller.json("/metadata")
            assert (told["id"], told["hostname"]) == (device["id"], device["hostname"])
            assert "error" not in told
            assert told["spot"] == {}
            assert told["specs"] == {"features": {"uefi": False}}
            assert (await caller.call("GET", "/userdata", headers={"Accept": "application/vnd.coreos.ignition+json"}))[
                1
            ] == userdata
            assert (await caller.call("GET", f"{EC2}/user-data"))[1] == userdata

        # However many slashes, and by HEAD as well.
        for path in ("/metadata/", "//metadata", f"/{EC2}//meta-data/instance-id/", f"{EC2}/meta-data/instance-id"):
            assert devices[0]["id"] in (await first.call("GET", path))[1]
        status, text, headers = await first.call("HEAD", "/metadata")
        assert (status, text, headers["Content-Type"]) == (200, "", "application/json; charset=utf-8")

        # What is listed is served; each version beside the one there is is not.
        listing = (await first.call("GET", f"{EC2}/meta-data/"))[1].split("\n")
        assert "spot" not in listing
        for leaf in listing:
            assert (await first.call("GET", f"{EC2}/meta-data/{leaf}"))[0] == 200
        assert (await first.call("GET", f"{EC2}/meta-data/tags"))[1] == "a\nb c"
        assert (await first.call("GET", f"{EC2}/meta-data/public-keys"))[1] == KEY
        assert (await first.call("GET", EC2))[1] == "meta-data\nuser-data"
        for other in ("2021-03-23/meta-data/instance-id", "latest/meta-data", "2009-04-040/meta-data", "nothing"):
            assert (await first.call("GET", f"/{other}"))[0] == 404

        # Only the source address counts, and nobody is told of anybody else.
        spoofed = await first.call("GET", "/metadata", headers={"X-Forwarded-For": second.address})
        assert json.loads(spoofed[1])["id"] == devices[0]["id"]
        stranger = Caller(first.url, "127.66.200.1")
        for path in ("/metadata", "/userdata", EC2):
            status, text, _ = await stranger.call("GET", path, headers={"X-Forwarded-For": second.address})
            assert (status, list(json.loads(text))) == (404, ["error"])
        assert (await stranger.call("PUT", "/phone-home", b"{}"))[0] == 200
        assert (await stranger.call("POST", "/events", b'{"code": 1000}'))[0] == 200
        assert (await stranger.call("POST", "/problem", b'{"problem": "missing_drive"}'))[0] == 404

        # The address that a device had is nobody's as soon as the device is gone.
        assert (await customer.call("DELETE", f"/devices/{orders[0]}"))[0] == 204
        assert (await first.call("GET", "/metadata"))[0] == 404


async def test_phone_home_and_events_in_every_encoding(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        machine = next(iter(running.rack.machines.values()))
        machine.faults.never_phones_home = True
        device_id = await customer.order()
        async with asyncio.timeout(60):
            while machine.stage != "system":
                await asyncio.sleep(0.05)
        device = (await customer.call("GET", f"/devices/{device_id}"))[1]
        caller, form = speaker(running, device), {"Content-Type": "application/x-www-form-urlencoded"}
        sent: tuple[_Call, ...] = (
            ("PUT", "/phone-home", b'{"type": "provisioning.104.50", "body": "image retrieved"}', {}),
            ("POST", "/phone-home", b"body=Device+connected&type=provisioning.104.01", form),
            ("POST", "/phone-home", b'{"type":"deprovisioning.306.02","body":"hidden","private":true}', form),
            ("POST", "/phone-home", b'{"type": "failure", "reason": "Error during disk"}', {}),
            ("POST", "/events", b'{"state": "running", "code": 1001, "message": "halfway"}', form),
            ("PUT", "//phone-home/events/", b'{"state": "succeeded", "message": "there"}', {}),
        )
        for call in sent:
            assert (await caller.call(*call))[:2] == (200, "")
        refused: tuple[tuple[str, str, bytes | None, dict[str, str], int], ...] = (
            ("POST", "/phone-home", b"<a/>", {"Content-Type": "text/xml"}, 400),
            ("POST", "/phone-home", b"{", {}, 400),
            ("POST", "/phone-home", b'{"type": "machine.retired"}', {}, 400),
            ("POST", "/phone-home", b'{"type": "\\u0000"}', {}, 400),
            ("POST", "/phone-home", b" " * (64 << 10) + b"{}", {}, 413),
            ("POST", "/events", b"", {}, 400),
            ("POST", "/events", b'{"code": 42}', {}, 400),
            ("GET", "/phone-home", None, {}, 405),
            ("POST", "/metadata", b"{}", {}, 405),
        )
        for method, path, content, headers, status in refused:
            assert (await caller.call(method, path, content, headers))[0] == status, (path, content)
        assert (await customer.call("GET", f"/devices/{device_id}"))[1]["state"] == "provisioning"

        found = {event["type"]: event for event in await events(customer, device_id)}
        assert found["provisioning.104.50"]["body"] == "image retrieved"
        assert found["provisioning.104.01"]["body"] == "Device connected"
        assert (found["user.1001"]["state"], found["user.1001"]["body"]) == ("running", "halfway")
        assert found["user.1000"]["state"] == "succeeded"
        private = {event["type"] for event in await running.service.db.fetch("SELECT type FROM event WHERE private")}
        assert {"failure", "deprovisioning.306.02"} <= private

        # An empty body, as afterburn sends it: the first one counts, and cloud-init's after it changes nothing.
        assert (await caller.call("POST", "/phone-home", b""))[0] == 200
        await customer.until(device_id, "active")
        count = len(await events(customer, device_id))
        assert (await caller.call("POST", "/phone-home", b"instance_id=1&hostname=a", form))[0] == 200
        assert len(await events(customer, device_id)) == count


async def test_a_machine_cannot_fill_the_log_and_its_password_stays_secret(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        caller, db = speaker(running, device), running.service.db

        status, pem, _ = await caller.call("GET", "/phone-home/key")
        assert status == 200
        assert (await caller.call("GET", "/phone-home/key"))[1] == pem
        public = load_pem_public_key(pem.encode())
        assert isinstance(public, rsa.RSAPublicKey)
        body = {"password": base64.b64encode(public.encrypt(b"S3cret! word", padding.PKCS1v15())).decode()}
        assert (await caller.call("POST", "/phone-home", json.dumps(body).encode()))[0] == 200
        assert (await customer.call("GET", f"/devices/{device['id']}"))[1]["root_password"] == "S3cret! word"
        stored = await db.fetchval("SELECT root_password FROM device")
        sealed = await db.fetchval("SELECT sealed FROM service_secret WHERE name = 'phone_home_key'")
        assert b"S3cret" not in stored
        assert b"PRIVATE KEY" not in sealed
        assert (await caller.call("POST", "/phone-home", b'{"password": "AAAA"}'))[0] == 400

        assert (await caller.call("PUT", "/problem", b'{"problem": "missing_drive"}'))[0] == 200
        assert await db.fetchval("SELECT body FROM event WHERE type = 'machine.problem' AND private")
        assert (await caller.call("POST", "/hardware-components", b'{"cpu": []}'))[0] == 403

        statuses = [(await caller.call("POST", "/events", b'{"code": 1001}'))[0] for _ in range(MESSAGES + 5)]
        assert statuses.count(200) == MESSAGES - 3  # two passwords and a problem were messages, too
        assert set(statuses) == {200, 429}
        types = [event["type"] for event in await events(customer, device["id"])]
        assert types.count("user.1001") == MESSAGES - 3
        assert types.count("instance.messages_dropped") == 1


_SYSTEM_PYTHON = "/usr/bin/python3"
_READER = """
import json, sys
from cloudinit import helpers, sources, util
from cloudinit.distros import debian
from cloudinit.sources import DataSourceEc2
url, paths = sys.argv[1], helpers.Paths({"cloud_dir": sys.argv[2], "run_dir": sys.argv[2]})
config = {"datasource": {"Ec2": {"metadata_urls": [url], "strict_id": False, "timeout": 5, "max_wait": 10}}}
source = DataSourceEc2.DataSourceEc2(config, debian.Distro("debian", {}, paths), paths)
assert source.get_data(), "the data source found nothing"
assert not isinstance(source, DataSourceEc2.DataSourceEc2Local)
metadata = source.metadata
print(json.dumps({
    "id": source.get_instance_id(), "hostname": str(source.get_hostname().hostname),
    "keys": source.get_public_ssh_keys(),
    "public": metadata["public-ipv4"], "private": metadata["local-ipv4"], "public6": metadata["public-ipv6"],
    "tags": metadata["tags"], "userdata": source.get_userdata_raw().decode(), "leaves": sorted(metadata),
}))
"""
_PHONE_HOME = """
import logging, sys
from cloudinit import cloud, helpers
from cloudinit.config import cc_phone_home
from cloudinit.distros import debian
from cloudinit.sources import DataSourceNone
url, instance, paths = sys.argv[1], sys.argv[2], helpers.Paths({"cloud_dir": sys.argv[3], "run_dir": sys.argv[3]})
distro = debian.Distro("debian", {}, paths)
source = DataSourceNone.DataSourceNone({}, distro, paths)
source.metadata = {"instance-id": instance, "local-hostname": "host0"}
config = {"phone_home": {"url": url, "post": ["instance_id", "hostname"], "tries": 2}}
logging.basicConfig(level=logging.WARNING)
cc_phone_home.handle("phone_home", config, cloud.Cloud(source, paths, {}, distro, None), logging.getLogger(), [])
"""


async def _as_the_machine(script: str, address: str, *arguments: str) -> str:
    """Run a script of cloud-init's modules with every connection bound to the machine's address."""
    bound = (
        "import socket\n_connect = socket.create_connection\n"
        "def _bound(address, *args, **more):\n"
        f"    return _connect(address, *args[:1], source_address=({address!r}, 0))\n"
        "socket.create_connection = _bound\n"
        "import urllib3.util.connection\n"
        "urllib3.util.connection.create_connection = _bound\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(_SYSTEM_PYTHON, "-c", bound + script, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(
    not Path("/usr/lib/python3/dist-packages/cloudinit").is_dir() or shutil.which(_SYSTEM_PYTHON) is None,
    reason="the Debian package cloud-init is missing",
)
async def test_cloud_inits_own_modules_read_it_all_and_phone_home(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        machine = next(iter(running.rack.machines.values()))
        machine.faults.never_phones_home = True
        userdata = "#cloud-config\npackages: [curl]\n"
        device_id = await customer.order(userdata=userdata, tags=["one", "two"])
        async with asyncio.timeout(60):
            while machine.stage != "system":
                await asyncio.sleep(0.05)
        device = (await customer.call("GET", f"/devices/{device_id}"))[1]
        address, base = public_address(device), running.service.parts.boot_url
        told = json.loads(await _as_the_machine(_READER, address, base, str(tmp_path / "cloud")))
        own = {(one["public"], one["address_family"]): one["address"] for one in device["ip_addresses"]}
        assert (told["id"], told["hostname"], told["keys"]) == (device_id, "host0", [KEY])
        assert (told["public"], told["private"]) == (own[True, 4], own[False, 4])
        assert told["public6"] == own[True, 6]
        assert (told["tags"], told["userdata"]) == (["one", "two"], userdata)
        assert {"instance-id", "iqn", "plan", "facility", "operating-system"} <= set(told["leaves"])

        await _as_the_machine(_PHONE_HOME, address, f"{base}/phone-home", device_id, str(tmp_path / "cloud"))
        await customer.until(device_id, "active")
        bodies = [event["body"] for event in await events(customer, device_id)]
        assert bodies[-1] == "Device phoned home and is ready to go"

"""The course of a native installation over the real sockets: the test speaks for the distribution's installer.

A light machine boots down to the installer's kernel, which is foreign to it; what the installer asks and tells comes
from the machine's own boot link then, as its addresses are loopback's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncssh
import pytest
from aiohttp import web

from images.build.netboot import import_files
from service.lab.light import LightMachine
from service.lab.up import Lab, LabSettings
from service.native.token import issue_native
from service.workflows import native
from tests.lab.world import Customer, all_ready, lab, left_behind, soon
from tests.service.test_mirror import listen


@dataclass
class Scene:
    """A lab with Debian's installer in its store and a mirror behind it."""

    lab: Lab
    customer: Customer

    @property
    def base(self) -> str:
        return self.lab.service.parts.boot_url

    async def row(self, device_id: str) -> Any:
        return await self.lab.service.db.fetchrow(
            "SELECT m.name, m.id, m.installed, b.block FROM machine AS m JOIN tenure AS b ON b.owner = m.port_id"
            " AND b.slot = 'boot' AND upper_inf(b.during) WHERE m.device_id = $1",
            UUID(device_id),
        )

    async def booted(self, device_id: str) -> LightMachine:
        """The device's machine, when it runs the installer's kernel."""
        async with asyncio.timeout(60):
            while (row := await self.row(device_id)) is None:
                await asyncio.sleep(0.05)
        machine = self.lab.rack.machines[row["name"]]
        assert isinstance(machine, LightMachine)
        await soon(lambda: machine.stage == "foreign")
        return machine

    async def source(self, device_id: str) -> str:
        """The machine's end of its boot link."""
        block = (await self.row(device_id))["block"]
        return str(block.network_address + 1)

    async def reason_soon(self, device_id: str, said: str, limit: float = 60) -> str:
        """What the device's course has waited for, or failed with, as soon as that says so."""
        async with asyncio.timeout(limit):
            while True:
                _, shown = await self.customer.call("GET", f"/devices/{device_id}/waterfall")
                reasons = " | ".join(stage["reason"] or "" for stage in shown["runs"][-1]["stages"])
                if said in reasons:
                    return reasons
                await asyncio.sleep(0.1)


@asynccontextmanager
async def installer(source: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who speaks from that address."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def boot(http: aiohttp.ClientSession, base: str) -> str:
    """The kernel's command line of the machine's boot script."""
    async with http.get(f"{base}/boot/ipxe") as answer:
        script = await answer.text()
    return next((line for line in script.splitlines() if line.startswith("kernel ")), script)


def files_of(cmdline: str) -> str:
    """Where the files of an installation lie, as the command line tells it."""
    found = re.search(r"(http://\S+/native/[^/]+)/", cmdline)
    assert found is not None, cmdline
    return found[1]


@asynccontextmanager
async def scene(database_url: str, folder: Path, machines: int = 1, **settings: Any) -> AsyncIterator[Scene]:
    """A lab whose mirror has two files."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(("Release", "a.deb")):
            return web.Response(body=b"content")
        raise web.HTTPNotFound

    app, behind = web.Application(), listen()
    app.router.add_get("/debian/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, behind).start()
    settings.setdefault("package_mirrors", f"debian=http://127.0.0.1:{behind.getsockname()[1]}/debian")
    (folder / "kernel").write_bytes(b"k" * 1000)
    files = {"kernel": str(folder / "kernel"), "initrd": str(folder / "kernel")}
    async with lab(database_url, folder, LabSettings(machines=machines, leaves=1), **settings) as (running, customer):
        import_files(running.service.parts.images.root, "debian_12", "amd64", files, {}, "")
        yield Scene(running, customer)
    await runner.cleanup()


async def test_from_an_order_to_an_active_machine_by_debians_installer(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order(engine="native", userdata="#cloud-config\n")
        machine = await here.booted(device_id)
        key = asyncssh.generate_private_key("ssh-ed25519")
        public = key.export_public_key().decode().strip()
        async with installer(await here.source(device_id)) as http:
            cmdline = await boot(http, here.base)
            base = files_of(cmdline)
            assert "console=ttyS0,115200" in cmdline and "/images/" in cmdline
            async with http.get(f"{base}/preseed.cfg") as answer:
                assert answer.status == 200
                text = await answer.text()
            assert f"{here.base}/mirror/debian".removeprefix("http://").partition("/")[0] in text
            assert "host0" in text
            async with http.get(f"{base}/nothing") as answer:
                assert answer.status == 404
            for path, status in (("dists/bookworm/Release", 200), ("pool/main/a.deb", 200), ("pool/b.udeb", 404)):
                async with http.get(f"{here.base}/mirror/debian/{path}") as answer:
                    assert answer.status == status
            await here.reason_soon(device_id, "is at work, packages; the mirror has no debian/pool/b.udeb")
            for _ in range(2):  # the answer may have been lost
                async with http.post(f"{base}/installed", data=f"{public} root@host0\n") as answer:
                    assert answer.status == 204
            assert (await here.row(device_id))["installed"]
            async with http.get(f"{base}/preseed.cfg") as answer:
                assert answer.status == 403
            assert "kernel" not in await boot(http, here.base)  # to its disk from now on
        assert machine.stage == "foreign"
        await finished(here, device_id, key)
        device = await here.customer.until(device_id, "active")
        assert device["host_keys"] == [f"{public} root@host0"]
        assert device["engine"] == "native"
        _, events = await here.customer.call("GET", f"/devices/{device_id}/events?per_page=100")
        types = [event["type"] for event in reversed(events["events"]) if event["type"].startswith("provisioning.")]
        assert types == [f"provisioning.{number}" for number in range(101, 111)]
        assert await here.customer.call("DELETE", f"/devices/{device_id}") == (204, None)
        await all_ready(here.lab.service.db)
        assert await left_behind(here.lab.service.db) == []
        assert not await here.lab.service.db.fetchval(
            "SELECT EXISTS (SELECT FROM native_install WHERE state = 'started')"
        )


async def finished(here: Scene, device_id: str, key: asyncssh.SSHKey) -> None:
    """The installed system comes up: SSH with that host key at the public address, and a phone-home from there."""
    _, device = await here.customer.call("GET", f"/devices/{device_id}")
    public = next(one["address"] for one in device["ip_addresses"] if one["public"] and one["address_family"] == 4)
    port = here.lab.service.parts.settings.ssh_port
    server = await asyncssh.listen(public, port, server_host_keys=[key], server_factory=asyncssh.SSHServer)
    async with installer(public) as http, http.post(f"{here.base}/phone-home", json={}) as answer:
        assert answer.status == 200
    await here.customer.until(device_id, "active")
    server.close()
    await server.wait_closed()


async def test_only_the_machine_itself_with_its_token_gets_the_files(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path, machines=2) as here:
        devices = [await here.customer.order(number, engine="native") for number in range(2)]
        for device_id in devices:
            await here.booted(device_id)
        sources = [await here.source(device_id) for device_id in devices]
        async with installer(sources[0]) as first, installer(sources[1]) as second, installer("127.0.0.1") as nobody:
            bases = [files_of(await boot(http, here.base)) for http in (first, second)]

            async def got(http: aiohttp.ClientSession, base: str, name: str = "preseed.cfg") -> int:
                async with http.get(f"{base}/{name}") as answer:
                    return answer.status

            assert await got(first, bases[1]) == 403
            assert await got(nobody, bases[0]) == 403
            assert await got(first, f"{here.base}/native/{'x' * 64}") == 403
            port_id = await here.lab.service.db.fetchval(
                "SELECT port_id FROM machine WHERE device_id = $1", UUID(devices[0])
            )
            old = issue_native(
                here.lab.service.parts.key.first.secret, port_id, now=datetime.now(UTC) - timedelta(hours=2)
            )
            assert await got(first, f"{here.base}/native/{old}") == 403
            for verb in ("installed", "failed"):  # before it has begun
                async with first.post(f"{bases[0]}/{verb}", data="") as answer:
                    assert answer.status == 403
            assert await got(first, bases[0]) == 200
            assert await got(second, bases[1]) == 200
            async with first.post(f"{bases[0]}/installed", data="no key") as answer:
                assert answer.status == 400
            async with second.post(f"{bases[0]}/installed", data="") as answer:
                assert answer.status == 403


async def test_a_power_cut_begins_from_the_start_with_a_new_token(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order(engine="native")
        machine = await here.booted(device_id)
        async with installer(await here.source(device_id)) as http:
            before = files_of(await boot(http, here.base))
            async with http.get(f"{before}/preseed.cfg") as answer:
                assert answer.status == 200
            await machine.power_off()
            await machine.power_on("none")
            await soon(lambda: machine.stage == "foreign")
            after = files_of(await boot(http, here.base))
            assert after != before
            async with http.get(f"{after}/preseed.cfg") as answer:
                assert answer.status == 200
            async with http.post(f"{before}/installed", data="") as answer:
                assert answer.status == 403
            async with http.get(f"{before}/preseed.cfg") as answer:
                assert answer.status == 403
            assert not (await here.row(device_id))["installed"]
            async with http.post(f"{after}/installed", data="") as answer:
                assert answer.status == 204
            assert (await here.row(device_id))["installed"]


async def test_an_installer_that_never_ends_is_stopped(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order(engine="native")
        await here.booted(device_id)
        async with installer(await here.source(device_id)) as http:
            statuses = []
            for _ in range(6):
                async with http.get(f"{files_of(await boot(http, here.base))}/preseed.cfg") as answer:
                    statuses.append(answer.status)
        assert statuses == [200] * 5 + [403]
        await here.reason_soon(device_id, "was started 6 times and came to no end")


async def test_what_the_installer_says_is_told(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order(engine="native")
        await here.booted(device_id)
        async with installer(await here.source(device_id)) as http:
            base = files_of(await boot(http, here.base))
            async with http.get(f"{base}/preseed.cfg") as answer:
                assert answer.status == 200
            async with http.post(f"{base}/failed", data="partman: no disk is \0large enough") as answer:
                assert answer.status == 204
        await here.reason_soon(device_id, "could not be installed: partman: no disk is  large enough")


async def test_a_silent_installer_is_started_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_SILENT", timedelta(seconds=0.5))
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order(engine="native")
        await here.reason_soon(device_id, "fell silent")


@pytest.mark.parametrize(
    ("settings", "slug", "said"),
    [
        pytest.param({"package_mirrors": ""}, "debian_12", "package_mirrors names no mirror of debian", id="mirror"),
        pytest.param({}, "debian_11", "debian_11-netboot is not in", id="installer"),
    ],
)
async def test_what_is_not_there_is_no_machines_fault(
    database_url: str, tmp_path: Path, settings: dict[str, Any], slug: str, said: str
) -> None:
    async with scene(database_url, tmp_path, **settings) as here:
        device_id = await here.customer.order(engine="native", operating_system=slug)
        async with asyncio.timeout(60):
            while True:
                _, device = await here.customer.call("GET", f"/devices/{device_id}")
                if device["state"] == "failed":
                    break
                await asyncio.sleep(0.05)
        assert said in device["failure"]


async def test_a_device_is_reinstalled_by_the_other_engine(database_url: str, tmp_path: Path) -> None:
    async with scene(database_url, tmp_path) as here:
        device_id = await here.customer.order()
        before = await here.customer.until(device_id, "active")
        body = {"type": "reinstall", "engine": "native"}
        assert (await here.customer.call("POST", f"/devices/{device_id}/actions", body))[0] == 202
        await here.booted(device_id)
        key = asyncssh.generate_private_key("ssh-ed25519")
        public = key.export_public_key().decode().strip()
        async with installer(await here.source(device_id)) as http:
            base = files_of(await boot(http, here.base))
            async with http.get(f"{base}/preseed.cfg") as answer:
                assert answer.status == 200
            async with http.post(f"{base}/installed", data=public) as answer:
                assert answer.status == 204
        await finished(here, device_id, key)
        after = await here.customer.until(device_id, "active")
        assert after["host_keys"] == [public]
        kept = [sorted(address["address"] for address in one["ip_addresses"]) for one in (before, after)]
        assert kept[0] == kept[1]


async def test_only_the_agent_learns_the_passphrase(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device_id = await customer.order(storage={"passphrase": "correct horse", "lvm": True, "raid": "none"})
        await customer.until(device_id, "active")
        machine = next(iter(running.rack.machines.values()))
        assert isinstance(machine, LightMachine)
        installed = machine.disks[0].installed
        assert installed is not None
        assert installed.spec["storage"] == {"disks": [], "raid": "none", "lvm": True, "passphrase": "correct horse"}
        kept = await running.service.db.fetch(
            "SELECT spec::text FROM agent_work UNION SELECT storage::text FROM device"
        )
        assert "correct" not in str(kept)

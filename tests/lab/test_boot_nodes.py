"""Several boot nodes serve one rack without a word to each other, on one host and on two, and one of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from service.lab.up import Lab, LabSettings
from service.settings import Settings
from tests.lab.test_boot import as_staff, until
from tests.lab.world import all_ready, lab

MACHINES = 16


@asynccontextmanager
async def second_node(running: Lab, settings: Settings, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another boot node in a process of its own, known to the database when the block begins."""
    told = {f"ROUNDHOUSE_{field.name.upper()}": str(getattr(settings, field.name)) for field in fields(Settings)}
    log = (folder / "second.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "service.cli.main", "serve", "--role", "boot"),
        env=os.environ | told,
        stdout=log,
        stderr=log,
    )
    try:

        async def heard() -> bool:
            assert process.returncode is None, (folder / "second.log").read_text()
            nodes = (await as_staff(running, "/admin/v1/boot-nodes"))["boot_nodes"]
            return any(node["pid"] == process.pid and node["ports"] == MACHINES for node in nodes)

        await until(heard)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        log.close()


async def reboot(running: Lab) -> None:
    """Power-cycle every machine into the network and wait until all are asking for work again."""
    since = await running.service.db.fetchval("SELECT clock_timestamp()")
    for machine in running.rack.machines.values():
        await machine.power_off()
        await machine.power_on("pxe")

    async def back() -> bool:
        count = await running.service.db.fetchval(
            "SELECT count(*) FROM agent_session WHERE ended_at IS NULL AND started_at > $1", since
        )
        return bool(count == MACHINES)

    await until(back, 60)


async def received(running: Lab, pid: int) -> int:
    """How many DHCP messages a node has counted."""
    nodes = (await as_staff(running, "/admin/v1/boot-nodes"))["boot_nodes"]
    return next((node["counters"].get("dhcp_received", 0) for node in nodes if node["pid"] == pid), 0)


async def test_two_processes_share_a_hosts_ports(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=MACHINES, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        parts = running.service.parts
        settings = replace(parts.settings, database_url=database_url, boot_port=running.service.boot_port)
        async with second_node(running, settings, tmp_path) as process:
            before = await received(running, os.getpid())
            await reboot(running)

            async def both() -> Any:
                return await received(running, process.pid) and await received(running, os.getpid()) > before

            # The kernel gives each leaf's port to one of the two for good.
            await until(both)
            task = asyncio.create_task(reboot(running))
            await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await task
        await customer.until(await customer.order(), "active")
        await reboot_all_but_the_used_one(running)


async def reboot_all_but_the_used_one(running: Lab) -> None:
    """The rack goes on as before, with the node that is left."""
    used = await running.service.db.fetchval("SELECT name FROM machine WHERE device_id IS NOT NULL")
    for name, machine in running.rack.machines.items():
        if name != used:
            await machine.power_off()
            await machine.power_on("pxe")

    async def there() -> bool:
        return all(machine.stage == "agent" for name, machine in running.rack.machines.items() if name != used)

    await until(there, 60)


async def test_two_hosts_serve_one_rack(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=MACHINES, leaves=1)
    other = "127.0.0.3"
    async with lab(database_url, tmp_path, asked, boot_nodes=f"127.0.0.1,{other}") as (running, customer):
        assert {str(one) for one in running.rack.free_port(0).relay_to} == {"127.0.0.1", other}
        settings = replace(
            running.service.parts.settings,
            database_url=database_url,
            boot_host=other,
            boot_port=running.service.boot_port,
        )
        async with second_node(running, settings, tmp_path) as process:
            await reboot(running)

            async def both() -> Any:
                return await received(running, process.pid) >= MACHINES

            # Each hears every machine; a machine takes one of two offers, and the other server stays silent.
            await until(both)
            await customer.until(await customer.order(), "active")
            process.kill()
            await process.wait()
            await reboot_all_but_the_used_one(running)
        await customer.until(await customer.order(1), "active")


async def test_a_node_that_stops_in_order_is_no_longer_shown(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=MACHINES, leaves=1)) as (running, _):
        settings = replace(
            running.service.parts.settings, database_url=database_url, boot_port=running.service.boot_port
        )
        async with second_node(running, settings, tmp_path) as process:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0
        nodes = (await as_staff(running, "/admin/v1/boot-nodes"))["boot_nodes"]
        assert [node["pid"] for node in nodes] == [os.getpid()]
        await all_ready(running.service.db)

"""The service is killed with a delivery under way: another goes on with it, and the receiver knows it by its id."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from service.lab.first_stage import write_first_stages
from service.lab.ports import free_port
from service.store.events import add_event
from service.store.rows import Pool
from tests.lab.test_kill import Process, answered
from tests.lab.world import TOKEN
from tests.service.receivers import receiver


async def test_a_delivery_survives_its_process(db: Pool, database_url: str, tmp_path: Path) -> None:
    ports = {name: free_port(socket.SOCK_STREAM) for name in ("api_port", "boot_port")}
    ports |= {name: free_port(socket.SOCK_DGRAM) for name in ("dhcp_port", "dhcp_relay_port", "tftp_port")}
    values = {
        **ports,
        "database_url": database_url,
        "state_dir": tmp_path,
        "log_level": "error",
        "webhook_networks": "127.0.0.0/8",
        "webhook_limit_s": 5,
    }
    write_first_stages(tmp_path / "first-stage")
    environment = {f"ROUNDHOUSE_{name.upper()}": str(value) for name, value in values.items()}
    api, process = f"http://127.0.0.1:{ports['api_port']}", Process(environment | {"ROUNDHOUSE_TOKEN": TOKEN})
    await process.start()
    async with receiver("hang") as at:
        projects = await answered(api, "GET", "/projects")
        project = projects["projects"][0]["id"]  # type: ignore[index]
        path = f"/projects/{project}/webhooks"
        made = await answered(api, "POST", path, {"url": at.url, "events": ["user.*"]}, key="one")
        for number in range(3):
            async with db.acquire() as conn, conn.transaction():
                await add_event(conn, "user.1000", f"thing {number}", project_id=project)
        await at.until(1)
        await process.end(signal.SIGKILL)
        assert await db.fetchval("SELECT held_until > now() FROM hook")
        at.answers[:] = [200]
        await process.start()
        heard = await at.until(4)
        assert heard[0].headers["webhook-id"] == heard[1].headers["webhook-id"]
        assert [one.json["data"]["event"]["body"] for one in heard] == ["thing 0", "thing 0", "thing 1", "thing 2"]
        while (await answered(api, "GET", made["href"]))["behind"]:  # type: ignore[index]
            pass
        await process.end(signal.SIGTERM)
        states = await db.fetch("SELECT state, attempts FROM hook_delivery ORDER BY position")
        assert [tuple(row) for row in states] == [("delivered", 2), ("delivered", 1), ("delivered", 1)]

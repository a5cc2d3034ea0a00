"""A whole order with the service at its most talkative: no secret of it is in the log."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from service.secrets import load_keys, open_sealed
from service.store.rows import Pool
from tests.lab.world import customer_of

PASSPHRASE, MD5, TOKEN = "a disk's passphrase", "apeerspassword", "the token of a talkative lab"


async def test_no_secret_is_logged(database_url: str, db: Pool, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.cli.main", "lab", "up", "--machines", "1", "--leaves", "1"),
            *("--log-level", "debug", "--token", TOKEN, "--database-url", database_url),
            *("--state-dir", str(tmp_path / "state")),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            ready = json.loads(await process.stdout.readline())
        async with customer_of(ready["api"], ready["project"], TOKEN) as customer:
            body = {"deployment_type": "local", "asn": 65000, "md5": MD5}
            answer = await customer.call("POST", f"/projects/{customer.project}/bgp-configs", body)
            assert answer[0] < 300, answer
            storage = {"layout": {"encrypted": True}, "passphrase": PASSPHRASE}
            status, _ = await customer.call("POST", f"/projects/{customer.project}/devices", {"storage": storage})
            assert status == 422, "an order that is refused is told of, too"
            device = await customer.until(
                await customer.order(userdata="#!/bin/sh\necho hidden-in-userdata\n"), "active"
            )
            assert (await customer.call("POST", "/admin/v1/machines/m1/bmc-password", {}))[0] in (200, 404)
            assert (await customer.call("POST", "/admin/v1/keys", {}))[0] == 202
            assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] == 204
        await asyncio.sleep(1)
    finally:
        process.terminate()
        await process.wait()
    ring = load_keys(tmp_path / "state")
    hidden = {PASSPHRASE, MD5, TOKEN, "hidden-in-userdata", "roundhouse.token=", device["root_password"]}
    hidden |= {key.secret.hex() for key in ring.keys}
    for table, column in (("machine", "bmc_secret"), ("leaf", "secret"), ("device", "root_password")):
        rows = await db.fetch(f"SELECT {column} AS sealed FROM {table}")
        hidden |= {open_sealed(ring, row["sealed"]) for row in rows}
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert "run_ended" in said and '"level": "debug"' in said
    assert [secret for secret in hidden if not secret or secret in said] == []

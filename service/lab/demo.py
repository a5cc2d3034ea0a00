"""The newcomer's first minute: one order, watched from the request to the prompt, and its waterfall."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import asyncssh

from service.cli.serve import for_ever
from service.lab.up import Lab, pooled

_ORDER_LIMIT_S = 300.0


class OrderFailed(RuntimeError):
    """The demonstration's order did not become active."""


async def _call(session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    async with session.request(method, path, json=body) as answer:
        text = await answer.text()
        if answer.status >= 400:
            raise OrderFailed(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _order(session: aiohttp.ClientSession, lab: Lab, key: asyncssh.SSHKey, system: str) -> dict[str, Any]:
    """Place an order and show its events until it is active."""
    body = {
        "hostname": "first",
        "plan": lab.rack.settings.plan,
        "facility": lab.rack.settings.facility,
        "operating_system": system,
        "ssh_keys": [{"label": "demo", "key": key.export_public_key().decode().strip()}],
    }
    device: dict[str, Any] = await _call(session, "POST", f"/projects/{lab.project}/devices", body)
    _say(f"ordered {device['id']}: {system} on {lab.rack.settings.plan}")
    seen: set[str] = set()
    deadline = asyncio.get_running_loop().time() + _ORDER_LIMIT_S
    while True:
        events = (await _call(session, "GET", f"/devices/{device['id']}/events?per_page=100"))["events"]
        for event in reversed(events):
            if event["id"] not in seen:
                seen.add(event["id"])
                _say(f"  {event['created_at']}  {event['type']:<22} {event['interpolated']}")
        device = await _call(session, "GET", f"/devices/{device['id']}")
        if device["state"] == "active":
            return device
        if device["state"] == "failed" or asyncio.get_running_loop().time() > deadline:
            raise OrderFailed(f"the order is {device['state']}: {device.get('failure')}")
        await asyncio.sleep(0.2)


async def _login(lab: Lab, device: dict[str, Any], key: asyncssh.SSHKey) -> str:
    """Log in at the public address, by the host key that the API shows and no other. Raises OrderFailed."""
    address = next(one["address"] for one in device["ip_addresses"] if one["public"] and one["address_family"] == 4)
    port = lab.service.parts.settings.ssh_port
    known: Any = ([asyncssh.import_public_key(one) for one in device["host_keys"]], [], [])
    try:
        async with asyncssh.connect(
            address, port, username="root", client_keys=[key], known_hosts=known, config=[]
        ) as connection:
            answer = await connection.run("uname -srm", check=True, timeout=30)
    except (OSError, asyncssh.Error) as err:
        raise OrderFailed(f"no SSH login at {address}: {err}") from None
    return str(answer.stdout).strip()


async def show_waterfall(session: aiohttp.ClientSession, device_id: str) -> None:
    """Print each stage with its budget and what it took."""
    waterfall = await _call(session, "GET", f"/devices/{device_id}/waterfall")
    for run in waterfall["runs"]:
        _say(f"\n{run['workflow']}, begun {run['created_at']}, {run['state']}")
        _say(f"{'stage':<20} {'budget':>9} {'actual':>11}")
        for stage in run["stages"]:
            _say(f"{stage['step']:<20} {stage['budget_s']:>7g} s {stage['actual_s']:>9.3f} s   {stage['state']}")


async def demo(lab: Lab, *, once: bool) -> int:
    """Order, watch, print the waterfall; then release the machine (`once`) or stay up. The exit code."""
    headers = {"X-Auth-Token": lab.token}
    async with aiohttp.ClientSession(lab.api, headers=headers) as session:
        try:
            key, began = asyncssh.generate_private_key("ssh-ed25519"), time.monotonic()
            device = await _order(session, lab, key, "debian_12")
            addresses = ", ".join(address["address"] for address in device["ip_addresses"])
            _say(f"active: {addresses}; host key {device['host_keys'][0]}")
            answer = await _login(lab, device, key)
            _say(f"SSH login by the published host key, {time.monotonic() - began:.1f} s after the order: {answer}")
            await show_waterfall(session, device["id"])
            if once:
                await _call(session, "DELETE", f"/devices/{device['id']}")
                await pooled(lab.service, lab.rack.settings.machines + lab.rack.settings.qemu)
                _say("released: quarantined, erased with a certificate, back in the pool")
                return 0
        except OrderFailed as err:
            _say(f"roundhouse lab: {err}")
            return 1
    _say(f"\nAPI      {lab.api}\nconsole  {lab.api}/console/\ntoken    {lab.token}\nstop with Ctrl-C")
    await for_ever()
    return 0

"""The newcomer's first minute: one order, watched from the request to the prompt, and its waterfall."""

from __future__ import annotations

import asyncio
import json
import sys
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


async def _order(session: aiohttp.ClientSession, lab: Lab, operating_system: str) -> dict[str, Any]:
    """Place an order and show its events until it is active."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    body = {
        "hostname": "first",
        "plan": lab.rack.settings.plan,
        "facility": lab.rack.settings.facility,
        "operating_system": operating_system,
        "ssh_keys": [{"label": "demo", "key": key}],
    }
    device: dict[str, Any] = await _call(session, "POST", f"/projects/{lab.project}/devices", body)
    _say(f"ordered {device['id']}: {operating_system} on {lab.rack.settings.plan}")
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
            device = await _order(session, lab, "debian_12")
            addresses = ", ".join(address["address"] for address in device["ip_addresses"])
            _say(f"active: {addresses}; host key {device['host_keys'][0]}")
            await show_waterfall(session, device["id"])
            if once:
                await _call(session, "DELETE", f"/devices/{device['id']}")
                await pooled(lab.service, lab.rack.settings.machines)
                _say("released: quarantined, erased with a certificate, back in the pool")
                return 0
        except OrderFailed as err:
            _say(f"roundhouse lab: {err}")
            return 1
    _say(f"\nAPI      {lab.api}\nconsole  {lab.api}/console/\ntoken    {lab.token}\nstop with Ctrl-C")
    await for_ever()
    return 0

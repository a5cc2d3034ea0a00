"""How far the time that an order is told at first is from the truth, on light machines: with a free one, and queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.lab.up import LabSettings, lab_settings, running_lab
from service.store.embedded import embedded_postgres
from service.wiring import listening
from tests.bench.result import Result
from tests.lab.world import Customer, all_ready, customer_of

_MACHINES, _ROUNDS = 4, 6
_COMMIT_S = 2.0  # of the leaf, so that an order takes about as long as it does on real ones, less the image
_PATIENCE_S = 600.0


def eta() -> list[Result]:
    """Rounds of orders that find a machine, and of orders that wait until one is prepared again."""
    with TemporaryDirectory(prefix="roundhouse-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded_postgres(folder / "pg") as url:
            return asyncio.run(_eta(folder, url))


async def _eta(folder: Path, url: str) -> list[Result]:
    token, api_socket = "a token for benches", listening("127.0.0.1", 0)
    settings = lab_settings(folder, api_port=api_socket.getsockname()[1], database_url=url, log_level="error")
    asked = LabSettings(machines=_MACHINES, leaves=1)
    free: list[dict[str, Any]] = []
    queued: list[dict[str, Any]] = []
    async with (
        running_lab(asked, replace(settings, cool_down_s=0), url, token, [api_socket]) as lab,
        customer_of(lab.api, lab.project, token) as customer,
    ):
        for leaf in lab.rack.leaves.values():
            leaf.commit_seconds = _COMMIT_S
        await _released(customer, await _round(customer))  # nothing was measured before
        for _ in range(_ROUNDS):
            await all_ready(lab.service.db)
            first = await _round(customer)
            await _released(customer, first)
            second = await _round(customer)
            await _released(customer, second)
            free, queued = [*free, *first], [*queued, *second]
    return [
        row
        for name, found in (("free", free), ("queued", queued))
        for row in _results(f"order.eta.{name}", sorted(_error_s(one) for one in found), found)
    ]


async def _round(customer: Customer) -> list[dict[str, Any]]:
    """One order for each machine, as it was answered at first and when it was active."""
    ids = [await customer.order(number, deadline=_PATIENCE_S) for number in range(_MACHINES)]
    told = [(await customer.call("GET", f"/devices/{one}"))[1]["eta"] for one in ids]
    await asyncio.gather(*(customer.until(one, "active", limit=_PATIENCE_S) for one in ids))
    found = []
    for one, moment in zip(ids, told, strict=True):
        waterfall = (await customer.call("GET", f"/devices/{one}/waterfall"))[1]
        found.append({"id": one, "eta": moment, **{name: waterfall[name] for name in ("created_at", "active_at")}})
    return found


async def _released(customer: Customer, found: list[dict[str, Any]]) -> None:
    for one in found:
        status, _ = await customer.call("DELETE", f"/devices/{one['id']}")
        assert status == 204


def _error_s(one: dict[str, Any]) -> float:
    return abs((datetime.fromisoformat(one["active_at"]) - datetime.fromisoformat(one["eta"])).total_seconds())


def _results(name: str, errors: list[float], found: list[dict[str, Any]]) -> list[Result]:
    took = [datetime.fromisoformat(one["active_at"]) - datetime.fromisoformat(one["created_at"]) for one in found]
    note = f"{len(errors)} orders, which took {sum(one.total_seconds() for one in took) / len(took):.1f} s on average"
    return [
        Result(f"{name}.p50", errors[len(errors) // 2], "s", _MACHINES, note),
        Result(f"{name}.p95", errors[min(len(errors) - 1, int(0.95 * len(errors)))], "s", _MACHINES, note),
    ]


PARTS: dict[str, Callable[[], list[Result]]] = {"order.eta": eta}

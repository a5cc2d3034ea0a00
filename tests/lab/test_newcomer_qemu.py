"""An unknown virtual machine at a free port: it really boots, tells what it is, and comes to the pool by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.test_qemu import IMAGES, why_not

TOKEN = "for this test"
PLAN = "c1.small.x86"


@contextmanager
def rack() -> Iterator[str]:
    """A lab whose only machine is a virtual one that nobody has enrolled; the API's URL."""
    lab = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "service.cli.main", "lab", "up", "--token", TOKEN),
            *("--machines", "0", "--leaves", "1", "--qemu-strangers", "1", "--images", str(IMAGES)),
            *("--disks", "virtio:1", "--log-level", "info"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert lab.stdout is not None
        yield json.loads(lab.stdout.readline())["api"]
    finally:
        lab.terminate()
        lab.wait(60)


def call(api: str, path: str, body: Any = None) -> Any:
    """One call of the staff's."""
    request = urllib.request.Request(
        f"{api}/admin/v1{path}",
        None if body is None else json.dumps(body).encode(),
        {"X-Auth-Token": TOKEN, "Content-Type": "application/json"},
        method="GET" if body is None else "PATCH",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def until(true: Callable[[], Any], limit: float) -> Any:
    """Wait until it says something, and return that."""
    deadline = time.monotonic() + limit
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


@pytest.mark.qemu
@pytest.mark.timeout(1200)
def test_an_unknown_virtual_machine_is_in_the_pool_without_a_human() -> None:
    if why := why_not("bios"):
        pytest.skip(why)
    with rack() as api:

        def refused() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = call(api, "/discoveries")["discoveries"]
            return [one for one in found if one["state"] == "quarantined"]

        (one,) = until(refused, 500)
        # Nobody has said yet that a plan has machines like it.
        assert "it fits no plan; nearest is" in one["reason"]
        (heard,) = one["inventory"]["lldp"]
        assert (heard["system"], heard["port"]) == ("leaf1", "xe-0/0/0")
        call(api, f"/plans/{PLAN}/hardware", {"like": "leaf1 xe-0/0/0"})

        def pooled() -> Any:
            (machine,) = call(api, "/machines")["machines"] or [{"state": ""}]
            assert machine["state"] != "quarantined", machine["reason"]
            return machine if machine["state"] == "ready" else None

        machine = until(pooled, 580)
        assert (machine["name"], machine["plan"], machine["mac"]) == ("leaf1-xe-0-0-0", PLAN, one["mac"])
        work = {one["kind"]: one["state"] for one in call(api, f"/machines/{machine['name']}/work")["work"]}
        assert work == {"burn_in": "done", "erase": "done"}
        assert call(api, f"/machines/{machine['name']}/certificates")["certificates"][0]["valid"]

"""The agent's whole life below the built installer's root, without a machine: no disk and no card is its own."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.store import load
from tests.images.installer_root import IMAGES, Root, installer_root
from tests.lab.installer_machine import Service
from tests.lab.namespace import in_namespace

_START = """
mount -t proc proc /proc
mount -t sysfs sys /sys
mount --bind /cmdline /proc/cmdline
exec python3 -I -S -E /usr/lib/python3.11/images/agent/__main__.py
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """The installer's root folder."""
    with installer_root(tmp_path_factory.mktemp("root")) as made:
        yield made


@pytest.fixture
def service(root: Root) -> Iterator[Service]:
    """At the namespace's own 127.0.0.1."""
    made = in_namespace(Path("/run/netns", root.namespace), Service)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    found = load(IMAGES)["installer"].toolbox
    assert found is not None
    made.files[f"/images/{found.sha256}"] = IMAGES / found.file
    words = f"console=ttyS0 roundhouse.url=http://127.0.0.1:{made.server_port} roundhouse.token=t"
    (root.tree / "cmdline").write_text(f"{words} BOOTIF=01-02-00-00-00-00-07 roundhouse.toolbox={found.sha256}\n")
    yield made
    made.shutdown()
    made.server_close()


@contextmanager
def agent(root: Root) -> Iterator[subprocess.Popen[bytes]]:
    """The running agent."""
    inside = ["chroot", str(root.tree), "/bin/sh", "-c", _START]
    command = ["ip", "netns", "exec", root.namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child", *inside]
    environment = {"PATH": "/bin:/usr/bin:/usr/sbin"}
    with (root.tree / "console").open("wb") as said, subprocess.Popen(command, env=environment, stdout=said) as process:
        try:
            yield process
        finally:
            process.kill()


def console(root: Root) -> str:
    """What the agent has said."""
    return (root.tree / "console").read_text()


def test_hello_inventory_work_and_the_way_out(root: Root, service: Service) -> None:
    made = io.BytesIO()
    script = b"#!/bin/sh\necho '{\"done\": \"'$1'\"}'\n"
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("run")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script))
    service.files |= {"/bundle": made.getvalue(), "/large": bytes(1 << 20)}
    here = f"http://127.0.0.1:{service.server_port}"
    urls = {"download_url": f"{here}/large", "upload_url": f"{here}/agent/v1/sink"}
    burn = {"seconds": 1, "parts": ["cpu", "memory", "network"], "memory_bytes": 16 << 20, **urls}
    sha256 = hashlib.sha256(made.getvalue()).hexdigest()
    bundle = {"url": f"{here}/bundle", "sha256": sha256, "program": "run", "arguments": ["it"], "limit_s": 30}
    with agent(root) as process:
        service.until(lambda: service.inventories >= 2)
        assert {"cpu", "memory_bytes", "smbios", "bmc", "pci", "lldp"} <= set(service.inventory)
        service.offer("w1", "burn_in", burn)
        service.until(lambda: "w1" in service.ended)
        what, body = service.ended["w1"]
        assert what == "done", body
        assert (body["result"]["cpu"]["wrong"], body["result"]["memory"]["errors"]) == (0, 0)
        assert body["result"]["network"]["errors"] == 0
        service.offer("w2", "firmware", bundle)
        service.offer("w3", "firmware", bundle | {"sha256": "0" * 64, "url": f"{here}/none"})
        service.offer("w4", "dance", {})
        service.offer("w5", "reboot", {})
        service.until(lambda: "w5" in service.ended)
        assert service.ended["w2"][1]["result"]["told"] == {"done": "it"}
        assert service.ended["w3"] == ("failed", {"stage": "firmware", "reason": f"there is no bundle at {here}/none"})
        assert service.ended["w4"][0] == "failed"
        assert process.wait(120) == 12
        assert "waiting for work (" in console(root)
    assert service.hellos == 1
    assert {one["stage"] for one in service.progress} >= {"burn-in cpu", "burn-in memory", "burn-in network"}


def test_an_ended_session_is_the_way_back_to_the_network(root: Root, service: Service) -> None:
    with agent(root) as process:
        service.until(lambda: service.polls >= 1)
        with service.changed:
            service.sessions += 1
            service.work.append({"id": "w1", "kind": "reboot", "spec": {}})
            service.changed.notify_all()
        assert process.wait(120) == 12
    assert service.hellos == 1


def test_a_service_that_is_away_is_waited_for(root: Root, service: Service) -> None:
    with agent(root) as process:
        service.until(lambda: service.polls >= 1)
        with service.changed:
            service.down = True
            service.changed.notify_all()
        service.until(lambda: "again in 1.0 s" in console(root))
        service.down = False
        service.offer("w1", "reboot", {})
        service.until(lambda: "w1" in service.ended)
        assert process.wait(120) == 12
    assert service.hellos == 1

"""The real debian-installer 12 in a virtual machine: ordered by the API, told by our files, fed by our mirror.

An archive that has no installer modules ends it at the first of them; that is told as the reason. One that has them
would go on to a login.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from images.build.host import BuildError, debian_suites
from images.store import load
from service.lab.qemu import PLATFORMS

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
TOKEN = "a token for the installer's test"
# What newt draws around a question, and beneath it.
QUESTION = ("[!]", "[!!]", "<Go Back>", "<Continue>")


def _why_not() -> str | None:
    if os.geteuid() != 0:
        return "needs root, for the network namespace"
    if missing := PLATFORMS["bios"].missing_packages():
        return f"needs the Debian packages {', '.join(missing)} (make system)"
    if not {"installer", "debian_12-netboot"} <= set(load(IMAGES)):
        return f"needs the installers in {IMAGES} (roundhouse image build installer, debian-12-netboot)"
    return None


def _mirrors() -> str:
    """This machine's own archives, as the setting has them."""
    try:
        suites = debian_suites()
    except BuildError as err:
        pytest.skip(f"needs apt: {err}")
    found = {}
    for suite in suites:
        if suite.codename == "bookworm":
            found["debian"] = suite.uri.rstrip("/")
        if suite.codename == "bookworm-security":
            found["debian-security"] = suite.uri.rstrip("/")
    if "debian" not in found:
        pytest.skip("needs an archive of Debian 12 in apt's sources")
    return ",".join(f"{name}={url}" for name, url in found.items())


@dataclass
class Lab:
    """A lab that runs in a process of its own."""

    api: str
    project: str
    log: Path
    state: Path

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One call of the API."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.api}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def said(self, event: str) -> list[dict[str, Any]]:
        """What the service has logged under that name."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]
        return [one for one in found if one["event"] == event]

    def console(self) -> str:
        """What the machine has printed."""
        return "".join(path.read_text("utf-8", "replace") for path in self.state.rglob("*.console.log"))

    def until(self, true: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait until it is true."""
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end, f"{what}\n{self.console()[-3000:]}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """A lab with one virtual machine in the pool, while the block runs."""
    command = [
        *(sys.executable, "-W", "ignore", "-m", "service.cli.main", "lab", "up", "--token", TOKEN),
        *("--machines", "0", "--leaves", "1", "--qemu", "1", "--images", str(IMAGES)),
        *("--state-dir", str(folder / "state"), "--log-level", "info"),
    ]
    log = folder / "log"
    environment = {**os.environ, "ROUNDHOUSE_PACKAGE_MIRRORS": _mirrors()}
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()[-3000:]
            told = json.loads(line)
            yield Lab(told["api"], told["project"], log, folder / "state")
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.qemu
@pytest.mark.timeout(590)
def test_debians_installer_takes_its_answers_and_asks_the_mirror(tmp_path: Path) -> None:
    if why := _why_not():
        pytest.skip(why)
    tmp_path.chmod(0o755)  # as root the database runs as a user of its own, which must get in
    with running_lab(tmp_path) as lab:
        wish = {
            "hostname": "native1",
            "plan": "c1.small.x86",
            "facility": "ewr1",
            "operating_system": "debian_12",
            "engine": "native",
        }
        began = time.monotonic()
        device = lab.call("POST", f"/projects/{lab.project}/devices", wish)

        def asked() -> list[dict[str, Any]]:
            return lab.said("mirror_asked")

        lab.until(
            lambda: any(one["name"].endswith((".udeb", ".deb")) for one in asked()), 480, "no package was asked for"
        )
        before, first = lab.console(), time.monotonic() - began
        assert [one["name"] for one in lab.said("native_file")][:1] == ["preseed.cfg"]
        names = [one["name"].removeprefix("debian/") for one in asked() if one["status"] in (200, 404)]
        order = [
            next(at for at, name in enumerate(names) if part in name)
            for part in ("dists/bookworm/Release", "debian-installer/binary-amd64/Packages", ".udeb")
        ]
        assert order == sorted(order), names
        assert not [sign for sign in QUESTION if sign in before], before[-3000:]
        _, events = 200, lab.call("GET", f"/devices/{device['id']}/events?per_page=100")
        assert "provisioning.104" in {event["type"] for event in events["events"]}
        package = next(one for one in asked() if one["name"].endswith(".udeb"))
        print(f"first module asked for {first:.0f} s after the order, answered {package['status']}: {names}")
        if package["status"] != 404:
            return

        def reasons() -> str:
            shown = lab.call("GET", f"/devices/{device['id']}/waterfall")
            return " | ".join(stage["reason"] or "" for stage in shown["runs"][-1]["stages"])

        lab.until(lambda: "the mirror has no debian/pool/" in reasons(), 60, "the missing module was not told")
        lab.until(lambda: "could not be installed: " in reasons(), 120, "the failure was not told")
        print(f"told {time.monotonic() - began:.0f} s after the order: {reasons()}")

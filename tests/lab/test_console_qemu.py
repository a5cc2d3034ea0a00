"""The serial console of a machine that really boots: what its kernel prints, and a login typed at it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.lab.test_qemu import IMAGES, why_not

_LIMIT_S = 420


@contextmanager
def lab_up() -> Iterator[dict[str, Any]]:
    words = ["lab", "up", "--machines", "0", "--leaves", "1", "--qemu", "1", "--images", str(IMAGES)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "service.cli.main", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.qemu
@pytest.mark.timeout(700)
def test_somebody_logs_in_at_the_console(tmp_path: Path) -> None:
    if why := why_not("bios"):
        pytest.skip(why)
    if shutil.which("ssh") is None:
        pytest.skip("the Debian package openssh-client is missing")
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").write_bytes(key.export_private_key())
    (tmp_path / "key").chmod(0o600)
    with lab_up() as lab:

        def call(path: str, body: Any = None) -> Any:
            content = None if body is None else json.dumps(body).encode()
            headers = {"X-Auth-Token": lab["token"], "Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(lab["api"] + path, content, headers)) as answer:
                return json.load(answer)

        wish = {"hostname": "web1", "plan": lab["plans"][0], "facility": lab["facility"]}
        own = {"label": "own", "key": key.export_public_key().decode().strip()}
        device = call(
            f"/projects/{lab['project']}/devices", wish | {"operating_system": "debian_12", "ssh_keys": [own]}
        )
        where = call(f"/devices/{device['id']}/console")
        (tmp_path / "known_hosts").write_text(f"[{where['host']}]:{where['port']} {where['host_key']}\n")
        with subprocess.Popen(
            [
                *("ssh", "-F", "none", "-tt", "-e", "none", "-p", str(where["port"]), "-i", str(tmp_path / "key")),
                *("-o", f"UserKnownHostsFile={tmp_path / 'known_hosts'}", "-o", "BatchMode=yes"),
                f"{where['user']}@{where['host']}",
            ],
            stdin=subprocess.PIPE,
            stdout=(tmp_path / "shown").open("wb"),
        ) as terminal:
            assert terminal.stdin is not None

            def until(text: bytes) -> None:
                deadline = time.monotonic() + _LIMIT_S
                while text not in (tmp_path / "shown").read_bytes():
                    assert time.monotonic() < deadline, (tmp_path / "shown").read_bytes()[-2000:]
                    time.sleep(0.2)

            try:
                until(b"web1 login:")
                until(b"the device is active: you have the keyboard")
                password = call(f"/devices/{device['id']}")["root_password"]
                terminal.stdin.write(b"root\r")
                terminal.stdin.flush()
                until(b"Password:")
                terminal.stdin.write(password.encode() + b"\r")
                terminal.stdin.flush()
                until(b"root@web1:~#")
                terminal.stdin.write(b"echo $((6 * 7))is; exit\r\x1d.")
                terminal.stdin.flush()
                assert terminal.wait(60) == 0
            finally:
                terminal.kill()
        shown = (tmp_path / "shown").read_bytes()
        assert password.encode() not in shown

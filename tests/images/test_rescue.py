"""The rescue login of the built installer: its own programs below another root, and a real SSH client."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.installer_root import Root, installer_root

# Tells what is reported, a line each, and ends like withdrawn work when its standard input does.
_RESCUE = """
import json, select, sys
from images.agent import rescue
from images.agent.errors import WorkDropped
rescue._TELL_S = 0.2
def report(stage, done, total, *, result):
    print(json.dumps(result), flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        raise WorkDropped
try:
    rescue.rescue(json.loads(sys.argv[1]), report)
except WorkDropped:
    print("dropped", flush=True)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """The installer's root folder."""
    with installer_root(tmp_path_factory.mktemp("root")) as made:
        yield made


def test_people_get_in_by_their_keys_until_the_work_is_withdrawn(root: Root, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    spec: dict[str, Any] = {
        "ssh_keys": [(tmp_path / "mine.pub").read_text()],
        "port": 22,
        "addresses": [{"address": "198.51.100.5/31", "gateway": "198.51.100.4", "public": True}],
    }
    # Mounts of its own end with it, and so do its processes.
    inside = ["chroot", str(root.tree), "/bin/sh", "-c", 'mount -t proc proc /proc; exec python3 -I -S -E -c "$0" "$1"']
    command = ["ip", "netns", "exec", root.namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child", *inside]
    with subprocess.Popen(
        [*command, _RESCUE, json.dumps(spec)],
        env={"PATH": "/bin:/usr/bin:/usr/sbin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        try:
            assert agent.stdout is not None and agent.stdin is not None
            told = json.loads(agent.stdout.readline())
            assert told["port"] == 22
            [host_key] = told["host_keys"]
            (tmp_path / "known").write_text(f"198.51.100.5 {host_key}\n")
            assert log_in(root, tmp_path, "mine", "id -u; cat /proc/1/comm").splitlines()[0] == "0"
            assert "mdadm" in log_in(root, tmp_path, "mine", "mdadm --version 2>&1")
            assert "Permission denied" in log_in(root, tmp_path, "other", "true")
            assert "198.51.100.5/31" in root.ip("addr", "show", "dev", "card")
            assert "from 198.51.100.5 lookup 100" in root.ip("rule", "show")
            assert "via 198.51.100.4" in root.ip("route", "show", "table", "100")
            with subprocess.Popen(ssh(root, tmp_path, "mine", "echo in; sleep 600"), stdout=subprocess.PIPE) as login:
                assert login.stdout is not None
                assert login.stdout.readline() == b"in\n"
                agent.stdin.write("\n")
                agent.stdin.flush()
                assert login.wait(120) == 255
            assert agent.stdout.read().splitlines()[-1] == "dropped"
            assert agent.wait(120) == 0
        finally:
            agent.kill()
    assert "198.51.100.5" not in root.ip("addr", "show", "dev", "card") + root.ip("rule", "show")
    assert not (root.tree / "root/.ssh/authorized_keys").exists()


def ssh(root: Root, folder: Path, key: str, command: str) -> list[str]:
    """A client's command line."""
    options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={folder / 'known'}", "BatchMode=yes", "LogLevel=ERROR")
    words = [word for option in options for word in ("-o", option)]
    client = ["ip", "netns", "exec", root.namespace, "ssh", "-F", "none", *words, "-i", str(folder / key)]
    return [*client, "-o", "IdentitiesOnly=yes", "root@198.51.100.5", command]


def log_in(root: Root, folder: Path, key: str, command: str) -> str:
    """What is printed; the server may have begun to listen a moment later than it was told."""
    for _ in range(600):
        done = subprocess.run(ssh(root, folder, key, command), capture_output=True, text=True, timeout=120)
        if "Connection refused" not in done.stderr:
            break
        time.sleep(0.1)
    return done.stdout + done.stderr

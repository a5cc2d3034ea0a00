"""The built installer puts disks as Fedora CoreOS and Flatcar have them, with their configuration, on a machine."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from images.build.layout import partitions_of
from tests.images.build.disks import make_coreos_disk, make_flatcar_disk, require_disk_tools
from tests.images.image_server import image_server
from tests.images.test_first_boot import partition, spec
from tests.lab.installer_machine import Machine, disk, running

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]


def installed(machine: Machine, work: str, raw: Path, **changes: Any) -> tuple[str, dict[str, Any]]:
    """How an install of that disk ended."""
    with image_server(raw.parent, raw=raw, partitions=partitions_of(raw)) as server:
        url = server.url.replace("127.0.0.1", "10.0.2.2")
        image = {**server.image, "url": f"{url}/data", "map_url": f"{url}/map"}
        machine.service.offer(work, "install", {**spec(), "image": image, **changes})
        machine.until(lambda: work in machine.service.ended, 240)
        return machine.service.ended[work]


@pytest.mark.parametrize(
    ("make", "number", "config"),
    [
        pytest.param(make_coreos_disk, 3, "ignition/config.ign", id="Fedora-CoreOS"),
        pytest.param(make_flatcar_disk, 6, "config.ign", id="Flatcar"),
    ],
)
def test_the_disk_has_the_key_that_was_told(
    tmp_path: Path, make: Callable[[Path], Path], number: int, config: str
) -> None:
    require_disk_tools(mkfs_xfs="xfsprogs", mkfs_btrfs="btrfs-progs")
    (tmp_path / "image").mkdir()
    raw = make(tmp_path / "image")
    disks = (*disk(tmp_path, "one", 1 << 30, "nvme"), *disk(tmp_path, "two", 1 << 30, "virtio-blk-pci"))
    with running(tmp_path, *disks) as machine:
        mirror = {"disks": [], "raid": "1", "lvm": False, "passphrase": ""}
        what, body = installed(machine, "w1", raw, storage=mirror)
        assert (what, body["stage"]) == ("failed", "writing")
        assert "this image goes to one whole disk only" in body["reason"]
        what, body = installed(machine, "w2", raw, handover=["switch_root", "kexec"])
        assert what == "done", body
        print(body["result"])
        assert body["result"]["handover"] == "reboot"
        machine.service.until(lambda: machine.process.poll() is not None)  # -no-reboot: it ends with the reset
    [public] = body["result"]["host_keys"]
    written = tmp_path / ("one" if body["result"]["disk"] == "/dev/nvme0n1" else "two")
    root = tmp_path / "root"
    root.mkdir()
    with partition(written, number) as device:
        subprocess.run(["mount", "-r", device, root], check=True)
        try:
            found = json.loads((root / config).read_text())
        finally:
            subprocess.run(["umount", root], check=True)
    files = {file["path"]: file for file in found["storage"]["files"]}
    source = files["/etc/ssh/ssh_host_ed25519_key.pub"]["contents"]["source"]
    assert base64.b64decode(source.partition(",")[2]).decode() == f"{public}\n"
    assert [one.role for one in partitions_of(written)] == [one.role for one in partitions_of(raw)]

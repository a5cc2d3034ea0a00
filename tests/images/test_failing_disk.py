"""A real installer on a virtual machine whose disk has one bad sector."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from images.protocol import Image
from images.store import load
from tests.images.image_server import MIB, image_server
from tests.lab.small_service import small_service

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
BAD = 10 * MIB + 9 * 4096 + 512  # in the middle of a chunk
HERE = "127.0.0.1"
FROM_INSIDE = "10.0.2.2"  # as QEMU's own network calls this machine


def why_not() -> str:
    if shutil.which("qemu-system-x86_64") is None:
        return "needs the package qemu-system-x86"
    if "installer" not in load(IMAGES):
        return f"needs the images in {IMAGES} (make images)"
    return ""


@pytest.mark.qemu
@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_a_bad_sector_is_told_with_disk_and_byte_and_the_disk_does_not_boot(tmp_path: Path) -> None:
    service_folder, image_folder = tmp_path / "service", tmp_path / "image"
    service_folder.mkdir()
    image_folder.mkdir()
    disk = tmp_path / "disk"
    disk.write_bytes(b"former customer " * (48 * MIB // 16))
    with image_server(image_folder) as images:
        async with small_service(service_folder, server=HERE) as service:
            told = images.image
            image: Image = {
                **told,
                "url": told["url"].replace(HERE, FROM_INSIDE),
                "map_url": told["map_url"].replace(HERE, FROM_INSIDE),
            }
            service.work.append({"id": "w1", "kind": "install", "spec": service.spec(1, [], image=image)})
            url = service.url.replace(HERE, FROM_INSIDE)
            machine = await asyncio.create_subprocess_exec(*_machine(disk, tmp_path / "console", url))
            try:
                await service.until(lambda: bool(service.failed or service.done), within_s=100)
            finally:
                machine.kill()
                await machine.wait()
    assert service.failed["w1"] == {
        "stage": "writing",
        "reason": f"/dev/vda: Input/output error at byte {BAD // 4096 * 4096}",
    }
    with disk.open("rb") as file:
        assert file.read(512) == bytes(512)


def _machine(disk: Path, console: Path, url: str) -> list[str]:
    installer = load(IMAGES)["installer"]
    bad_sector = {"event": "none", "iotype": "write", "errno": 5, "sector": BAD // 512}
    layers = [
        {"driver": "file", "node-name": "file", "filename": str(disk), "discard": "unmap"},
        {"driver": "blkdebug", "node-name": "bad", "image": "file", "inject-error": [bad_sector]},
        {"driver": "raw", "node-name": "disk", "file": "bad", "discard": "unmap"},
    ]
    command_line = f"console=ttyS0 roundhouse.url={url} roundhouse.token=secret-{HERE}"
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35,graphics=off", "-smp", "2", "-m", "1024"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
        *("-kernel", str(IMAGES / installer.kernel.file), "-initrd", str(IMAGES / installer.initrd.file)),
        *("-append", command_line, "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="),
        *(word for layer in layers for word in ("-blockdev", json.dumps(layer))),
        *("-device", "virtio-blk-pci,drive=disk"),
    ]

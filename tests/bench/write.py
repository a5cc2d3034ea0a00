"""The agent's write path against `curl | zstd -d --sparse`, the same image over the same link to the same disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import chunks, store
from images.agent import blockdev, stream, zstd
from images.build import cpio
from images.chunks import Map
from images.protocol import Image
from service.settings import images_of, read_settings
from tests.bench.result import Result

_ROUNDS = 5
_GUEST_ROUNDS = 2
_GUEST_LIMIT_S = 400
_LEVEL = "-9"  # as our own chunks
_BAR, _EMULATED_BAR = 1.5, 1.0
_PEER = "curl -s {url} | zstd -q -d --sparse -f -o {target} && sync {target}"
_MEMORY = Path("/dev/shm")
_INIT = """\
#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
known=
while :; do
    found=$(find /sys/devices -name modalias -exec cat {{}} + | sort -u)
    [ "$found" = "$known" ] && break
    known=$found
    modprobe -a -b -q $found 2>/dev/null
done
for folder in /sys/class/net/*; do [ -e "$folder/device" ] && nic=${{folder##*/}}; done
ip link set "$nic" up; ip addr add 10.0.2.15/24 dev "$nic"
python3 -I -S -E /peer/guest.py '{image}' {classic} {rounds} || echo "bench: failed"
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class _Served:
    """The image in both forms, and where they are."""

    image: Image
    map: Map
    data: Path
    classic: str
    port: int

    @property
    def raw_bytes(self) -> int:
        """What is not holes."""
        return sum(chunk.raw_bytes for chunk in self.map.chunks)


@contextmanager
def _served() -> Iterator[_Served]:
    """Debian's image from the store, and one zstd stream of the same disk, behind the service's own routes."""
    root = images_of(read_settings())
    artefact = store.load(root).get("debian_12")
    if artefact is None or artefact.image is None:
        raise RuntimeError(f"needs the Debian 12 image in {root}: make images")
    stored = artefact.image
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        data, text = (root / one.file for one in (stored, stored.map))
        for one in (data, text):
            shutil.copyfile(one, folder / one.name)
        command = [sys.executable, "-m", "tests.bench.http_server", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None and server.stdout is not None
            try:
                port = int(server.stdout.readline())
                base = f"http://127.0.0.1:{port}/images"
                image: Image = {
                    "url": f"{base}/{stored.sha256}",
                    "bytes": stored.bytes,
                    "map_url": f"{base}/{stored.map.sha256}",
                    "map_sha256": stored.map.sha256,
                    "disk_bytes": stored.disk_bytes,
                }
                classic = _as_one_stream(image, folder)
                yield _Served(image, chunks.decode(text.read_bytes()), data, f"{base}/{classic}", port)
            finally:
                server.stdin.close()
                server.wait()


def _as_one_stream(image: Image, folder: Path) -> str:
    """Compress the disk in one go; the file's sha256, which is its name."""
    raw, packed = folder / "raw", folder / "packed"
    with raw.open("wb") as file:
        file.truncate(image["disk_bytes"])
    stream.write_image(image, [stream.Target(0, image["disk_bytes"], str(raw), 0)], lambda done, total: None)
    subprocess.run(["zstd", "-q", _LEVEL, "-T0", raw, "-o", packed], check=True)
    raw.unlink()
    with packed.open("rb") as content:
        name = hashlib.file_digest(content, "sha256").hexdigest()
    packed.rename(folder / name)
    return name


@contextmanager
def _file(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        path = Path(folder) / "disk"
        with path.open("wb") as file:
            file.truncate(size)
        yield path


@contextmanager
def _loop(size: int) -> Iterator[Path]:
    with _file(size) as backing:
        attach = ["losetup", "-f", "--show", str(backing)]
        device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
        try:
            yield Path(device)
        finally:
            subprocess.run(["losetup", "-d", device], check=True)


def _ours(served: _Served, target: Path) -> float:
    command = [sys.executable, "-m", "tests.bench.write_ours", json.dumps(served.image), str(target)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peer(served: _Served, target: Path) -> float:
    begun = time.monotonic()
    subprocess.run(["sh", "-c", _PEER.format(url=served.classic, target=target)], check=True)
    return time.monotonic() - begun


def _native() -> list[Result]:
    found = []
    with _served() as served:
        floor = _decode_s(served)
        for name, place in (("file", _file), ("loop", _loop)):
            times: dict[str, list[float]] = {"ours": [], "peer": []}
            for _ in range(_ROUNDS):
                for who, write in (("ours", _ours), ("peer", _peer)):
                    with place(served.image["disk_bytes"]) as target:
                        times[who].append(write(served, target))
            ours, peer = (statistics.median(times[who]) for who in ("ours", "peer"))
            found.append(_result(f"images.write.{name}", served, ours, peer, _BAR, floor))
    return found


def _result(name: str, served: _Served, ours: float, peer: float, bar: float, floor: float | None) -> Result:
    note = f"bar {bar} ×; {ours:.2f} s, {served.image['bytes'] / ours / 1e6:,.0f} MB/s compressed"
    if floor is not None:
        note += f"; decoding alone {served.raw_bytes / floor / 1e6:,.0f} MB/s"
    said = f"curl | zstd -d --sparse: {peer:.2f} s, {served.raw_bytes / peer / 1e6:,.0f} MB/s"
    return Result(name, served.raw_bytes / ours / 1e6, "MB/s", 1, note, said, peer / ours)


def _decode_s(served: _Served) -> float:
    """How long all cores take to decode the image in memory, at the best of some rounds."""
    cores = len(os.sched_getaffinity(0))
    content = blockdev.Buffer(served.map.data_bytes)
    content.view[:] = served.data.read_bytes()

    def decode(first: int) -> None:
        decoder, room = zstd.FrameDecoder(), blockdev.Buffer(chunks.MAX_RAW)
        for chunk in served.map.chunks[first::cores]:
            decoder.decode(content.address + chunk.position, chunk.frame_bytes, room.address, chunk.raw_bytes)
        decoder.close()

    best = float("inf")
    for _ in range(_ROUNDS):
        threads = [threading.Thread(target=decode, args=(number,)) for number in range(cores)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = min(best, time.monotonic() - begun)
    return best


def _emulated() -> list[Result]:
    """Both in one virtual machine, with the in-RAM installer's kernel and agent, one after the other."""
    installer = store.load(images_of(read_settings()))["installer"]
    root = images_of(read_settings())
    with ExitStack() as stack:
        served = stack.enter_context(_served())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = folder / "disk"
        with disk.open("wb") as file:
            file.truncate(2 << 30)
        initrd = folder / "initrd"
        first = (root / installer.initrd.file).read_bytes()
        # The kernel unpacks one archive after another; one that is not compressed begins at a multiple of four.
        initrd.write_bytes(first + bytes(-len(first) % 4) + _addition(folder / "tree", served))
        console = folder / "console"
        command = [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi"),
            *("-M", "q35,graphics=off", "-smp", "2", "-m", "2048"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
            *("-kernel", str(root / installer.kernel.file), "-initrd", str(initrd)),
            *("-append", "console=ttyS0 quiet panic=-1 rdinit=/peer/init"),
            *("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="),
            *("-drive", f"if=none,id=disk0,file={disk},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap"),
            *("-device", "virtio-blk-pci,drive=disk0"),
        ]
        subprocess.run(command, check=True, timeout=_GUEST_LIMIT_S)
        said = console.read_text(errors="replace")
    times = {who: [float(s) for s in re.findall(rf"bench: {who} ([\d.]+)", said)] for who in ("ours", "peer")}
    if len(times["peer"]) < _GUEST_ROUNDS:
        raise AssertionError(said[-2000:])
    ours, peer = (statistics.median(times[who]) for who in ("ours", "peer"))
    return [_result("images.write.emulated", served, ours, peer, _EMULATED_BAR, None)]


def _addition(tree: Path, served: _Served) -> bytes:
    """An archive of curl and zstd as this machine has them, with their libraries, and what the guest runs."""
    peer = tree / "peer"
    (peer / "bin").mkdir(parents=True)
    (peer / "lib").mkdir()
    for name in ("curl", "zstd"):
        program = shutil.which(name)
        if program is None:
            raise RuntimeError(f"needs the package {name}")
        shutil.copy(program, peer / "bin" / name)
        listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listing):
            shutil.copy(library, peer / "lib" / Path(library).name)
    shutil.copy(Path(__file__).with_name("write_guest.py"), peer / "guest.py")
    here, guest = f"127.0.0.1:{served.port}", f"10.0.2.2:{served.port}"  # as QEMU's own network calls this machine
    image = json.dumps(served.image).replace(here, guest)
    init = peer / "init"
    init.write_text(_INIT.format(image=image, classic=served.classic.replace(here, guest), rounds=_GUEST_ROUNDS))
    init.chmod(0o755)
    return cpio.encode(list(cpio.walk(tree)))


PARTS: dict[str, Callable[[], list[Result]]] = {"images.write": _native, "images.write.emulated": _emulated}

"""Burn-in for real, in a second or two: the processors and memory of this machine, files as disks, a local server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent import burn, burn_cpu, burn_disk, burn_memory, burn_network, children
from images.agent.blockdev import Disk
from images.agent.errors import WorkDropped, WorkFailed


def nothing(_: int) -> None:
    """Nobody listens."""


def test_every_processor_computes_what_is_known() -> None:
    assert burn_cpu.compute() == burn_cpu.RIGHT
    found = burn_cpu.burn(0.3, nothing)
    assert found["threads"] == len(os.sched_getaffinity(0))
    assert found["rounds"] >= found["threads"]
    assert found["wrong"] == 0
    assert found["slowest_rounds_per_s"] > 0


def test_a_processor_that_computes_something_else_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burn_cpu, "RIGHT", "something else")
    found = burn_cpu.burn(0.1, nothing)
    assert found["wrong"] == found["rounds"] > 0


def test_temperatures_are_those_of_processors(tmp_path: Path) -> None:
    assert burn_cpu.temperature(str(tmp_path)) == 0
    for number, (name, value) in enumerate((("coretemp", "71000"), ("k10temp", "64500"), ("nvme", "90000"))):
        folder = tmp_path / f"class/hwmon/hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "temp1_input").write_text(f"{value}\n")
    assert burn_cpu.temperature(str(tmp_path)) == 71.0


def test_memory_keeps_every_pattern() -> None:
    found = burn_memory.burn(0.1, 32 << 20, nothing)
    assert (found["bytes"], found["errors"]) == (32 << 20, 0)
    assert found["passes"] >= 1
    assert found["bytes_per_s"] > 0


def test_memory_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit is turned between the filling and the comparison."""
    compare = burn_memory._compare

    def flip(address: int, size: int, source: object, step: int) -> int:
        burn_memory._libc.memset(address + (5 << 20) + 77, 0x11, 1)
        return compare(address, size, source, step)  # type: ignore[arg-type]

    monkeypatch.setattr(burn_memory, "_compare", flip)
    assert burn_memory.burn(0.0, 32 << 20, nothing)["errors"] >= 4


def test_errors_that_the_memory_controller_counts_are_read(tmp_path: Path) -> None:
    for number, corrected in enumerate((3, 4)):
        folder = tmp_path / f"devices/system/edac/mc/mc{number}"
        folder.mkdir(parents=True)
        (folder / "ce_count").write_text(f"{corrected}\n")
        (folder / "ue_count").write_text("1\n")
    assert burn_memory.ecc_counts(str(tmp_path)) == (7, 2)


def file_disk(path: Path, size: int) -> Disk:
    """A file as a disk; what was on it before reads as ones."""
    path.write_bytes(b"\xff" * size)
    return Disk(str(path), size, "S1", "file", False)


def test_a_disk_is_written_and_compared(tmp_path: Path) -> None:
    size = (100 << 20) + 8192
    disk = file_disk(tmp_path / "disk", size)
    seen: list[int] = []
    found = burn_disk.try_disk(disk, 60, seen.append)
    assert (found["written_bytes"], found["verified_bytes"], found["errors"]) == (96 << 20, 96 << 20, 0)
    assert found["write_bytes_per_s"] > 0
    assert found["read_bytes_per_s"] > 0
    assert seen == sorted(seen)
    assert seen[-1] == 2 * (96 << 20)


def test_a_disk_that_gives_back_something_else_is_found(tmp_path: Path) -> None:
    """Written to behind its back, as a disk would that mixes up addresses."""
    disk = file_disk(tmp_path / "disk", 64 << 20)

    def meddle(count: int) -> None:
        if count == 64 << 20:
            with (tmp_path / "disk").open("r+b") as file:
                file.seek(20 << 20)
                file.write(b"!")

    found = burn_disk.try_disk(disk, 60, meddle)
    assert found["errors"] == 1
    assert found["first_error"] == f"at {16 << 20}: other bytes than were written"


def test_a_disk_that_is_shorter_than_it_says_is_found() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    found = burn_disk.try_disk(Disk("/dev/full", 64 << 20, "", "", False), 60, nothing)
    assert found["errors"] > 0
    assert "No space left" in found["first_error"]


@given(st.integers(1, 1 << 44))
def test_the_first_blocks_lie_all_over_the_disk(size: int) -> None:
    size = min(size, 300 << 30)
    found = burn_disk.places(size)
    run = burn_disk._RUN * burn_disk._BLOCK
    assert sorted(found) == [number * run for number in range(max(1, size // run))]
    if len(found) >= 16:
        quarters = {place * 4 // (len(found) * run) for place in found[:16]}
        assert quarters == {0, 1, 2, 3}


class _Sink(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        self.wfile.write(bytes(1 << 20))

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_the_network_is_measured_both_ways(url: str) -> None:
    found = burn_network.burn(0.2, url, url, nothing)
    assert found["download_bytes_per_s"] > 0
    assert found["upload_bytes_per_s"] > 0
    assert (found["errors"], found["link_errors"]) == (0, 0)


def test_an_answer_that_comes_late_is_measured_all_the_same(url: str) -> None:
    assert burn_network.burn(0, url, url, nothing)["download_bytes_per_s"] > 0


def test_what_breaks_is_counted(url: str) -> None:
    found = burn_network.burn(0.2, "http://127.0.0.1:9/", url, nothing)
    assert found["errors"] >= 1
    assert found["download_bytes_per_s"] == 0


def test_the_parts_that_are_asked_for_are_tried(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burn, "_LEAST_S", 0.1)
    said: list[tuple[str, float]] = []

    def report(stage: str, done: int, total: int, *, percent: float = 0) -> None:
        said.append((stage, percent))

    spec = {
        "seconds": 0,
        "parts": ["memory", "network"],
        "download_url": url,
        "upload_url": url,
        "memory_bytes": 16 << 20,
    }
    found = burn.burn_in(spec, report)  # type: ignore[arg-type]
    assert set(found) == {"memory", "network"}
    assert {stage for stage, _ in said} == {"burn-in memory", "burn-in network"}


def test_a_process_that_dies_is_a_failure() -> None:
    def die(_: Callable[[int], None]) -> None:
        os._exit(3)

    with pytest.raises(WorkFailed, match="it died"):
        children.run([die], 1, nothing)
    with pytest.raises(WorkFailed, match="a process failed: too much"):
        children.run([fail], 1, nothing)


def fail(tell: Callable[[int], None]) -> None:
    tell(1)
    raise ValueError("too much")


def test_work_that_was_dropped_leaves_no_process_behind(tmp_path: Path) -> None:
    def dropped(_: int) -> None:
        raise WorkDropped

    def sleep(_: Callable[[int], None]) -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    with pytest.raises(WorkDropped):
        children.run([sleep], 60, dropped)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)

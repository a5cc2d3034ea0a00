"""Erasing a machine's disks, all at the same time, with the evidence for it."""

from __future__ import annotations

import os
import threading
import time

from images.agent import blockdev
from images.agent.blockdev import read_text
from images.agent.erase_course import STAGE, Course, Stopped, Together
from images.agent.erase_node import Node
from images.agent.errors import WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from images.protocol import EraseResult, EraseSpec

    Report = Callable[[str, int, int], None]

_TELL_EVERY_S = 1.0
_LEAVE_S = 30.0  # for the threads that can be stopped; a controller at work cannot be


def erase(spec: EraseSpec, report: Report) -> EraseResult:
    """Erase the named disks, or all. Raises WorkFailed for the first that cannot be proved clean."""
    deadline = time.monotonic() + spec["limit_s"]
    stopped = threading.Event()
    groups = _by_controller(_opened(wanted_disks(spec["disks"]), report))
    together = [
        Together([Course(node) for node in nodes], spec["sample_count"], deadline, stopped, shared=shared)
        for nodes, shared in groups
    ]
    return run_all(together, stopped, report)


def _opened(disks: Sequence[blockdev.Disk], report: Report) -> list[Node]:
    """Open them all, each in a thread: while a disk sanitizes itself the kernel may hold its opener for minutes."""
    nodes: dict[str, Node] = {}
    failures: list[str] = []

    def open_one(disk: blockdev.Disk) -> None:
        try:
            nodes[disk.path] = Node(disk)
        except OSError as err:
            failures.append(f"{disk.path}: {err.strerror}")

    threads = [threading.Thread(target=open_one, args=(disk,), name="open", daemon=True) for disk in disks]
    for thread in threads:
        thread.start()
    _join(threads, _TELL_EVERY_S)
    while any(thread.is_alive() for thread in threads):
        report(STAGE, 0, sum(disk.bytes for disk in disks))
        _join(threads, _TELL_EVERY_S)
    if failures:
        for node in nodes.values():
            node.close()
        raise WorkFailed(STAGE, failures[0])
    return [nodes[disk.path] for disk in disks]


def run_all(together: Sequence[Together], stopped: threading.Event, report: Report) -> EraseResult:
    """Run every group in a thread of its own; report until all have ended. Raises what the first to fail raised.

    A thread closes its disks. One that waits for a controller which cannot be stopped outlives this, with its disks
    still taken, so that nothing else begins on them.
    """
    failures: list[Exception] = []

    def run(group: Together) -> None:
        try:
            group.run()
        except Stopped:
            return
        except Exception as err:
            failures.append(err)
            stopped.set()
        finally:
            for course in group.courses:
                course.node.close()

    threads = [threading.Thread(target=run, args=(group,), name="erase", daemon=True) for group in together]
    courses = [course for group in together for course in group.courses]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not failures:
            report(STAGE, sum(one.done for one in courses), sum(one.node.disk.bytes for one in courses))
            _join(threads, _TELL_EVERY_S)
    finally:
        stopped.set()
        _join(threads, _LEAVE_S)
    if failures:
        raise failures[0]
    return {"disks": [course.result() for course in courses]}


def _join(threads: Iterable[threading.Thread], within_s: float) -> None:
    end = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def wanted_disks(paths: Sequence[str], sys_block: str = "/sys/block", dev: str = "/dev") -> list[blockdev.Disk]:
    """The disks to erase, in the kernel's order: those named, or all. Raises WorkFailed where one cannot be erased.

    Without names that is every disk that the next customer could read: one that is write-protected is an error, and
    one that shows no size is among them, for so shows itself a SCSI disk that is in the middle of a sanitize.
    """
    found = {disk.path: disk for disk in blockdev.disks(sys_block, dev) if not _is_path_only(sys_block, disk.path)}
    if missing := set(paths) - set(found):
        raise WorkFailed(STAGE, f"no such disk: {', '.join(sorted(missing))}")
    if paths:
        return [disk for path, disk in found.items() if path in paths]
    for name in sorted(os.listdir(sys_block)):
        folder = f"{sys_block}/{name}"
        if not name.startswith(("sd", "nvme", "vd")) or read_text(f"{folder}/removable") == "1":
            continue
        if read_text(f"{folder}/ro") == "1":
            raise WorkFailed(STAGE, f"{dev}/{name}: it is write-protected")
        if name.startswith("sd") and read_text(f"{folder}/size") == "0":
            path = f"{dev}/{name}"
            found[path] = blockdev.Disk(path, 0, "", read_text(f"{folder}/device/model"), False)
    return list(found.values())


def _is_path_only(sys_block: str, path: str) -> bool:
    """True for one of several paths to a namespace, which has no device of its own."""
    return read_text(f"{sys_block}/{os.path.basename(path)}/hidden") == "1"


def _by_controller(nodes: Iterable[Node], sys_block: str = "/sys/block") -> list[tuple[list[Node], bool]]:
    """Nodes that must not be erased side by side; and whether their controller has namespaces besides these."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(_controller(sys_block, os.path.basename(node.disk.path)), []).append(node)
    all_of = [_controller(sys_block, name) for name in os.listdir(sys_block) if os.path.exists(f"/dev/{name}")]
    return [(group, all_of.count(key) > len(group)) for key, group in groups.items()]


def _controller(sys_block: str, name: str) -> str:
    """What disks have in common that are erased together: an NVMe subsystem, or the same disk by two ways."""
    device = f"{sys_block}/{name}/device"
    return read_text(f"{device}/subsysnqn") or read_text(f"{device}/wwid") or name

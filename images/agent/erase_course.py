"""The course of an erase on disks that have a controller in common: one method after another until one is proved."""

from __future__ import annotations

import errno
import os
import time

from images.agent import ata, blockdev, erase_ata, erase_nvme, erase_samples, erase_scsi, scsi
from images.agent.erase_node import Refused
from images.agent.erase_plan import Capabilities, Method, plan
from images.agent.errors import Malformed, WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from typing import Literal

    from images.agent.erase_node import Node
    from images.protocol import DiskErasure, EraseAttempt

    Outcome = Literal["done", "refused", "failed", "too slow"]
    Verdict = Literal["zeros", "pattern", "changed"]

STAGE = "erasing"
_BLOCK = 4 << 20
_NO_PROMISE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)
_FINISH = Method("discard-zeroes", "zeros", 0.0)


class Stopped(Exception):
    """Another disk has failed, or the work is no longer wanted."""


class TooSlow(Exception):
    """A method did not come to its end within its time."""


class Broken(Exception):
    """A method was begun and broke off; says where."""


class Course:
    """One disk on its way. `done` is how much of it is, in bytes: read by whoever reports."""

    __slots__ = (
        *("attempts", "before", "begun", "done", "evidence", "fixed", "found", "hidden", "node", "pattern"),
        *("seconds", "verdict"),
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.attempts: list[EraseAttempt] = []
        self.hidden: list[str] = []
        self.begun = time.monotonic()
        self.done = 0
        self.seconds = 0.0
        self.fixed: list[int] = []
        self.before = erase_samples.Before()
        self.evidence = erase_samples.Evidence()
        self.pattern: erase_samples.Pattern | None = None
        self.verdict: Verdict = "zeros"
        self.found = _by_blocks(node)

    @property
    def name(self) -> str:
        """For people: the path, and the serial number that is printed on the disk."""
        serial = self.found.serial or self.node.disk.serial
        return f"{self.node.disk.path} ({serial})" if serial else self.node.disk.path

    def note(self, method: str, outcome: Outcome, why: str, s: float) -> None:
        """Write an attempt down."""
        print(f"roundhouse: {self.name}: {method}: {outcome}{': ' if why else ''}{why} ({s:.1f} s)", flush=True)
        self.attempts.append({"method": method, "outcome": outcome, "reason": why, "seconds": round(s, 2)})

    def result(self) -> DiskErasure:
        """What the certificate tells of this disk."""
        return {
            "path": self.node.disk.path,
            "serial": self.found.serial or self.node.disk.serial,
            "bytes": self.node.disk.bytes,
            "controller": self.found.language,
            "model": self.found.model or self.node.disk.model,
            "firmware": self.found.firmware,
            "method": self.attempts[-1]["method"],
            "seconds": round(self.seconds, 2),
            "attempts": self.attempts,
            "hidden": self.hidden,
            "samples_read": self.evidence.read,
            "samples_clean": self.evidence.read,
            "samples_old": len(self.before.places),
            "verdict": self.verdict,
        }


class Together:
    """Disks with a controller in common, erased one after the other, or at once where the controller does that.

    `run` raises WorkFailed for the first disk that is not proved clean, Stopped when `stopped` was set meanwhile.
    """

    def __init__(
        self, courses: Sequence[Course], sample_count: int, deadline: float, stopped: threading.Event, *, shared: bool
    ) -> None:
        self.courses = courses
        self._pending = list(courses)
        self._sample_count, self._deadline, self._stopped, self._shared = sample_count, deadline, stopped, shared
        self._stranded: list[str] = []  # what only a method that takes the whole controller would reach

    def run(self) -> None:
        """Erase them all, and prove it. Raises WorkFailed where no method did it."""
        for course in self.courses:
            self._ask(course)
            self._look(course)
        tried_on_all = set()
        for course in self.courses:
            for method in plan(course.found):
                if course not in self._pending:
                    break
                if not method.whole:
                    self._try(method, [course])
                elif method.name not in tried_on_all:
                    tried_on_all.add(method.name)
                    self._try(method, list(self._pending))
        if self._pending:
            course = self._pending[0]
            tried = "; ".join(f"{one['method']} {one['outcome']}: {one['reason']}" for one in course.attempts)
            raise WorkFailed(STAGE, f"{course.name}: no method erased it: {tried}")

    def _ask(self, course: Course) -> None:
        """Find out what the controller can do, wait for what it has begun already, and bring up what it hides."""
        node, disk = course.node, course.node.disk
        name = os.path.basename(disk.path)
        try:
            if name.startswith("nvme"):
                course.found = erase_nvme.look(node, shared=self._shared)
                if any(method.startswith("nvme-sanitize") for method in course.found.methods):
                    self._await(course, erase_nvme.under_way(node), lambda tell: erase_nvme.wait(node, tell))
                self._stranded = erase_nvme.out_of_reach(node, frozenset(one.node.nsid() for one in self.courses))
                course.hidden += self._stranded
            elif name.startswith("sd"):
                inquiry = scsi.Inquiry(node.scsi(scsi.inquiry()).data)
                identity = _identity(node) if inquiry.vendor == "ATA" else None
                if identity is not None:
                    course.found = erase_ata.look(node, identity)
                    self._await(course, erase_ata.under_way(node, identity), lambda tell: erase_ata.wait(node, tell))
                    course.hidden += self._uncover(course, identity)
                else:
                    course.found = erase_scsi.look(node, inquiry)
                    self._await(course, erase_scsi.under_way(node), lambda tell: erase_scsi.wait(node, tell))
        except (Refused, Malformed) as err:
            # It may still take writes; that it could not be asked stands in the certificate.
            course.note("ask", "refused", str(err), 0.0)
        if disk.bytes == 0:
            self._format(course)
        course.found.bytes = disk.bytes

    def _uncover(self, course: Course, identity: ata.Identity) -> list[str]:
        try:
            found = erase_ata.uncover(course.node, identity)
        except (Refused, Malformed) as err:
            raise WorkFailed(STAGE, f"{course.name}: it hides a part of itself and keeps it hidden: {err}") from err
        return found

    def _await(self, course: Course, name: str, wait: Callable[[Callable[[float], None]], None]) -> None:
        """Wait for what was begun before the power was cut. What it was for is judged by the samples alone."""
        if not name:
            return
        begun = time.monotonic()
        try:
            wait(self._teller(course, self._deadline))
        except (Refused, Malformed, TooSlow) as err:
            course.note(name, "failed", f"found under way: {err}", time.monotonic() - begun)
            return
        course.note(name, "done", "found under way", time.monotonic() - begun)
        if course.node.disk.bytes == 0:
            course.node.rescan()

    def _format(self, course: Course) -> None:
        """Bring a disk back whose sanitize or format broke off: it has no size until it is formatted."""
        begun = time.monotonic()
        try:
            if not erase_scsi.is_unformatted(course.node):
                raise Refused("it does not say why")
            erase_scsi.run(course.node, "scsi-format-unit", self._teller(course, self._deadline))
            course.node.rescan()
        except (Refused, Malformed, TooSlow) as err:
            raise WorkFailed(STAGE, f"{course.name}: it has no capacity: {err}") from err
        course.note("scsi-format-unit", "done", "it had no capacity", time.monotonic() - begun)

    def _look(self, course: Course) -> None:
        disk = course.node.disk
        course.fixed = erase_samples.fixed_places(disk.bytes, erase_samples.partitions_of(disk.path))
        course.before = erase_samples.take(course.node, course.fixed, self._sample_count)

    def _try(self, method: Method, courses: Sequence[Course]) -> None:
        """Try a method, on the first course's node for all of them, and see what it left."""
        course = courses[0]
        begun = time.monotonic()
        done = False
        outcome: Outcome = "failed"
        try:
            self._carry_out(method, course)
            done = True
            for one in courses:
                one.node.settle()
        except OSError as err:
            if not done and err.errno in _NO_PROMISE:
                outcome = "refused"
            why = err.strerror or str(err)
        except Refused as err:
            outcome, why = "refused", str(err)
        except (Broken, Malformed) as err:
            why = str(err)
        except TooSlow as err:
            outcome, why = "too slow", str(err)
        else:
            self._prove(method, courses, time.monotonic() - begun)
            return
        for one in courses:
            one.note(method.name, outcome, why, time.monotonic() - begun)
            one.done = 0

    def _carry_out(self, method: Method, course: Course) -> None:
        if method.refused:
            raise Refused(method.refused)
        left = self._deadline - time.monotonic()
        if method.expected_s > left:
            raise TooSlow(f"it needs about {method.expected_s:.0f} s, and {max(left, 0):.0f} s are left")
        limit_s = min(method.limit_s, left)
        tell = self._teller(course, time.monotonic() + limit_s)
        node = course.node
        match method.name.split("-")[0]:
            case "nvme":
                erase_nvme.run(node, method.name, limit_s, tell)
            case "ata":
                erase_ata.run(node, method.name, limit_s, tell)
            case "scsi":
                erase_scsi.run(node, method.name, tell)
                node.rescan()
            case "discard":
                done = 0
                for step in node.punch():
                    done += step
                    tell(done / node.disk.bytes)
            case _:
                _overwrite(course, method, tell)

    def _prove(self, method: Method, courses: Sequence[Course], seconds: float) -> None:
        for course in courses:
            try:
                clean = self._check(method, course)
            except OSError as err:
                # A block whose key is gone may be unreadable until it is written: the next method may prove more.
                course.note(method.name, "failed", f"it cannot be read afterwards: {err.strerror}", seconds)
                course.done = 0
                continue
            course.note(method.name, "done", "", seconds)
            if lock := _lock_left(course):
                raise WorkFailed(STAGE, f"{course.name}: {method.name} erased it and left {lock}")
            if self._stranded and not method.whole:
                where = "; ".join(self._stranded)
                raise WorkFailed(STAGE, f"{course.name}: {method.name} does not reach all of it: {where}")
            if not clean:
                self._finish(course)
            course.done = course.node.disk.bytes
            course.seconds = time.monotonic() - course.begun
            self._pending.remove(course)

    def _finish(self, course: Course) -> None:
        """Make what is neither old nor zeros into zeros where that is cheap, so that the next look is definite."""
        begun = time.monotonic()
        try:
            self._carry_out(_FINISH, course)
            course.node.settle()
            self._check(_FINISH, course)
        except (OSError, Refused, TooSlow):
            course.verdict = "changed"  # proved already, if not as zeros
        else:
            first = course.attempts[-1]
            first["seconds"] = round(first["seconds"] + time.monotonic() - begun, 2)
            first["reason"] = "made zeros by discard afterwards"

    def _check(self, method: Method, course: Course) -> bool:
        """Whether all samples are zeros, or the pattern. Raises WorkFailed where anything old is left, OSError."""
        expected: Callable[[int, memoryview], bool] | None = None
        if method.leaves == "zeros":
            expected = erase_samples.zeros
        elif method.leaves == "pattern" and course.pattern is not None:
            expected = course.pattern.matches
        random = [erase_samples.random_place(course.node.disk.bytes) for _ in range(self._sample_count)]
        places = sorted({*course.fixed, *course.before.places, *random})
        try:
            course.evidence = erase_samples.check(course.node, places, course.before, expected)
        except erase_samples.OldBytes as err:
            # A disk that says it is erased and is not will not be believed again, whatever else it can do.
            raise WorkFailed(STAGE, f"{course.name}: {method.name} was reported as done and left {err}") from err
        course.verdict = "pattern" if method.leaves == "pattern" else "zeros"
        return expected is not None or course.evidence.zero == course.evidence.read

    def _teller(self, course: Course, deadline: float) -> Callable[[float], None]:
        def tell(fraction: float) -> None:
            course.done = int(course.node.disk.bytes * min(fraction, 1.0))
            if self._stopped.is_set():
                raise Stopped
            if time.monotonic() > deadline:
                raise TooSlow(f"it was {100 * fraction:.0f} % done when its time was over")

        return tell


def _by_blocks(node: Node) -> Capabilities:
    """What any disk can do: take zeros."""
    disk = node.disk
    return Capabilities("block", disk.bytes, disk.rotational, serial=disk.serial, model=disk.model)


def _identity(node: Node) -> ata.Identity | None:
    """An ATA disk's own words; None where the host adapter does not let them through."""
    try:
        return erase_ata.identity(node)
    except (Refused, Malformed):
        return None


def _lock_left(course: Course) -> str:
    """A password that would shut the next customer out of an erased disk after a power cycle; empty: none."""
    node, language = course.node, course.found.language
    try:
        if language == "ata" and erase_ata.has_password(node):
            return "a password that is not ours"
        taken = language == "nvme" and erase_nvme.is_taken(node)
        if taken or (language in ("ata", "scsi") and erase_scsi.is_taken(node)):
            return "its self-encryption under a password that is not ours (TCG Opal; the PSID on its label reverts it)"
    except (Refused, Malformed):
        return ""  # it has nothing of the kind
    return ""


def _overwrite(course: Course, method: Method, tell: Callable[[float], None]) -> None:
    """Write all of the disk from here. Raises Broken with the place that does not take it."""
    size = course.node.disk.bytes
    course.pattern = erase_samples.Pattern(_BLOCK) if method.leaves == "pattern" else None
    view = course.pattern.buffer.view if course.pattern else blockdev.Buffer(_BLOCK).view
    for offset in range(0, size, _BLOCK):
        if course.pattern:
            course.pattern.stamp(offset)
        try:
            course.node.write(offset, view[: min(_BLOCK, size - offset)])
        except OSError as err:
            raise Broken(f"{err.strerror} while writing at offset {offset}") from err
        tell((offset + _BLOCK) / size)

"""A soak of the address manager: random acts by several processes on one PostgreSQL, each foretold and checked.

    python -m tests.ipam.soak --operations 1000000 [--seed N] [--workers 2]

runs on an embedded PostgreSQL of its own. It prints how far it is, stops at the first violation with its seed and the
last acts (exit code 1), and at the end compares the whole ledger with all that happened.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import asyncpg

from service.store.embedded import embedded_postgres
from service.store.rows import open_pool
from sql.migrate import migrate
from tests.ipam.checks import assert_agrees
from tests.ipam.play.setting import Everybody, make_world

_ROOT = Path(__file__).parents[2]
_TOLD_EVERY_S = 1.0
_OWNERS = 12  # for each doubling of the prefixes


@dataclass(frozen=True, slots=True)
class Soak:
    """What is to be done."""

    operations: int
    seed: int
    workers: int = 2
    scale: int = 5  # how often the prefixes are doubled
    check_every: int = 1000  # operations of a worker between two looks at all that is open


@dataclass(slots=True)
class Result:
    """What came of it."""

    operations: int = 0
    tenures: int = 0
    checks: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    violation: str | None = None


class Dice:
    """Choices by a generator of random numbers."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, end: int) -> int:
        return self._random.randrange(end)


async def _work(url: str, task: Soak, number: int) -> None:
    """One worker: plays in a world of its own, and tells how far it is as lines of JSON."""
    mine = task.operations // task.workers + (number < task.operations % task.workers)
    pool = await open_pool(url, size=4)
    world = await make_world(pool, number + 1, scale=task.scale)
    player = Everybody(pool, world, Dice(f"{task.seed}/{number}"), owners=_OWNERS << task.scale)
    checks, checked, told = 0, 0, time.monotonic()

    def tell(**more: object) -> None:
        state = {"operations": player.operations, "tenures": len(world.rows), "checks": checks}
        print(json.dumps(state | more), flush=True)

    try:
        while player.operations < mine:
            await player.step()
            if player.operations - checked >= task.check_every:
                async with pool.acquire() as conn:
                    await assert_agrees(conn, world, whole_ledger=False)
                checks, checked = checks + 1, player.operations
            if time.monotonic() - told > _TOLD_EVERY_S:
                tell()
                told = time.monotonic()
        async with pool.acquire() as conn:
            await assert_agrees(conn, world, whole_ledger=True)
        checks += 1
    except Exception:
        acts = "\n".join(f"  {act}" for act in player.journal)
        tell(violation=f"worker {number} of seed {task.seed}:\n{traceback.format_exc()}its last acts:\n{acts}")
    else:
        tell(outcomes=player.outcomes)
    finally:
        pool.terminate()


def soak(url: str, task: Soak, say: Callable[[str], None]) -> Result:
    """Soak the migrated database at `url`; `say` gets the lines for people. Stops at the first violation."""
    lines: SimpleQueue[tuple[int, str]] = SimpleQueue()
    command = [sys.executable, "-m", "tests.ipam.soak", "--worker"]
    workers = [
        subprocess.Popen(
            [*command, json.dumps({"url": url, "number": number, "task": asdict(task)})],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(task.workers)
    ]
    for number, worker in enumerate(workers):
        Thread(target=_read, args=(number, worker, lines), daemon=True).start()
    began = told = time.monotonic()
    last, result, ended = [Result() for _ in workers], Result(), 0
    while ended < task.workers and result.violation is None:
        try:
            number, line = lines.get(timeout=_TOLD_EVERY_S)
        except Empty:
            continue
        if not line:
            ended += 1
            if workers[number].wait() and result.violation is None:
                result.violation = f"worker {number} of seed {task.seed} died with {workers[number].returncode}"
            continue
        state = json.loads(line)
        last[number] = Result(state["operations"], state["tenures"], state["checks"])
        result.outcomes.update(state.get("outcomes", {}))
        result.violation = state.get("violation", result.violation)
        result.operations, result.tenures, result.checks = (
            sum(one.operations for one in last),
            sum(one.tenures for one in last),
            sum(one.checks for one in last),
        )
        if time.monotonic() - told >= _TOLD_EVERY_S:
            told = time.monotonic()
            say(_line(result, told - began, "so far"))
    for worker in workers:
        if result.violation is not None:
            worker.kill()
        worker.wait()
    result.seconds = time.monotonic() - began
    say(_line(result, result.seconds, f"seed {task.seed}"))
    return result


def _read(number: int, worker: subprocess.Popen[str], lines: SimpleQueue[tuple[int, str]]) -> None:
    for line in worker.stdout or ():
        lines.put((number, line))
    lines.put((number, ""))


def _line(result: Result, seconds: float, what: str) -> str:
    return (
        f"{result.operations} operations in {seconds:.0f} s, {result.operations / max(seconds, 0.001):.0f}/s, "
        f"{result.tenures} tenures, {result.checks} checks, {0 if result.violation is None else 1} violations ({what})"
    )


@contextmanager
def _database() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="roundhouse-soak-"))
    folder.chmod(0o755)  # as root, the server runs as a user of its own, which must get in
    try:
        with embedded_postgres(folder / "pg", durable=False) as url:
            asyncio.run(_migrate(url))
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _migrate(url: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
    finally:
        await conn.close()


def main() -> int:
    """Exit code 1 when something was wrong."""
    parser = argparse.ArgumentParser(description="Random acts on the address manager, each foretold and checked.")
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        order = json.loads(given.worker)
        asyncio.run(_work(order["url"], Soak(**order["task"]), order["number"]))
        return 0
    with _database() as url:
        result = soak(url, Soak(given.operations, given.seed, given.workers), lambda line: print(line, flush=True))
    for outcome, times in sorted(result.outcomes.items()):
        print(f"  {outcome}: {times}")
    if result.violation is not None:
        print(f"VIOLATION: {result.violation}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

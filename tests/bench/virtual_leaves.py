"""Virtual leaves in a process of their own, so that what they cost is not counted as the driver's."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass

from service.lab.leaf import VirtualLeaf

USERNAME, PASSWORD = "roundhouse", "a password for benches"


@dataclass(frozen=True, slots=True)
class Running:
    """A virtual leaf that listens."""

    name: str
    host: str
    port: int
    host_key: str


async def _serve(count: int, ports: int, commit_s: float) -> None:
    async with AsyncExitStack() as stack:
        leaves = []
        for number in range(1, count + 1):
            names = [f"xe-0/0/{port}" for port in range(ports)]
            leaf = await VirtualLeaf.start(
                f"leaf{number}", names, username=USERNAME, password=PASSWORD, commit_seconds=commit_s
            )
            stack.push_async_callback(leaf.stop)
            leaves.append(leaf)
        told = [asdict(Running(leaf.name, leaf.address, leaf.port, leaf.host_key)) for leaf in leaves]
        print(json.dumps(told), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def virtual_leaves(count: int, *, ports: int = 48, commit_s: float = 0.0) -> Iterator[list[Running]]:
    """Leaves while the block runs; a confirm takes half of `commit_s`."""
    command = [sys.executable, "-m", "tests.bench.virtual_leaves"]
    command += ["--leaves", str(count), "--ports", str(ports), "--commit-seconds", str(commit_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield [Running(**one) for one in json.loads(process.stdout.readline())]
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--leaves", type=int, required=True)
    parser.add_argument("--ports", type=int, required=True)
    parser.add_argument("--commit-seconds", type=float, required=True)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.leaves, asked.ports, asked.commit_seconds))

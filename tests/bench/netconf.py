"""The driver's own share of a port change: virtual leaves that take no time to commit, in a process of their own."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv4Network, ip_interface

from netconf.desired import Leaf, Link, LinkRole, Port, Profile
from netconf.owned import desired_objects, edit, to_xml
from netconf.session import LeafAddress, LeafSession, open_session
from netconf.transaction import apply_all
from tests.bench.result import Result
from tests.bench.virtual_leaves import PASSWORD, USERNAME, Running, virtual_leaves

_PORTS = 48
_SIZES = (1, 8, 48)  # ports that change in a transaction
_CASES = ((1, 1), (8, 8), (1, 48), (8, 48), (48, 48))  # so many, of so many that the leaf has
_TRANSACTIONS = 100
_BARE_TRANSACTIONS = 40
_LEAVES, _ROUNDS = 50, 3
_LIMIT_MS = 80.0


def _port(number: int, generation: int) -> Port:
    links = (
        Link(LinkRole.BOOT, ip_interface(f"10.64.0.{number * 2}/31")),
        Link(LinkRole.PUBLIC, ip_interface(f"198.51.100.{number * 2}/31")),
        Link(LinkRole.PRIVATE, ip_interface(f"10.65.0.{number * 2}/31")),
        Link(LinkRole.IPV6, ip_interface(f"2001:db8:0:{number:x}::/127")),
    )
    profile = Profile.ACTIVE if generation % 2 else Profile.QUARANTINE
    return Port(f"xe-0/0/{number}", profile, links, generation, f"m{number}")


def _leaf(changed: int, generation: int, ports: int = _PORTS) -> Leaf:
    """So many of the leaf's ports are in this generation, the others in the first."""
    made = tuple(_port(number, generation if number < changed else 1) for number in range(ports))
    return Leaf("leaf1", made, (IPv4Address("192.0.2.10"),), (IPv4Network("192.0.2.10/32"),))


def _address(leaf: Running) -> LeafAddress:
    return LeafAddress(leaf.host, leaf.port, USERNAME, PASSWORD, leaf.host_key)


async def _timed(session: LeafSession, wanted: Leaf) -> float:
    began = time.perf_counter()
    applied = await apply_all(session, wanted)
    if not applied.changed or applied.refused:
        raise AssertionError(f"nothing has changed, or not all: {dict(applied.refused)}")
    return (time.perf_counter() - began) * 1000


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


async def _bare(leaf: Running) -> list[float]:
    """Milliseconds of one-port transactions by ncclient alone."""
    old, new = (desired_objects(_leaf(1, generation)) for generation in (2, 3))
    documents = [edit(one, other) for one, other in ((new, old), (old, new))]
    program = [sys.executable, "-m", "tests.bench.bare_ncclient", "--host", leaf.host, "--port", str(leaf.port)]
    program += ["--username", USERNAME, "--password", PASSWORD, "--transactions", str(_BARE_TRANSACTIONS)]
    lines = "\n".join(to_xml(one) for one in documents if one is not None)
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    out, _ = await running.communicate(lines.encode())
    return [seconds * 1000 for seconds in json.loads(out)]


async def _transaction(leaf: Running) -> list[Result]:
    took: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    async with open_session(_address(leaf)) as session:
        for size, ports in _CASES:
            await apply_all(session, _leaf(ports, 1, ports))
            courses = [_leaf(size, generation, ports) for generation in range(2, _TRANSACTIONS + 3)]
            began = time.process_time()
            took[f"{size}of{ports}"] = [await _timed(session, wanted) for wanted in courses][1:]
            cpu[f"{size}of{ports}"] = (time.process_time() - began) * 1000 / len(courses)
        await apply_all(session, _leaf(1, 2))
    bare = statistics.median(await _bare(leaf))
    peer = f"bare ncclient, one port: {bare:.0f} ms"
    found = []
    for case, each in took.items():
        note = f"limit {_LIMIT_MS:.0f} ms; {cpu[case]:.0f} ms of CPU"
        for name, value in (("p50", statistics.median(each)), ("p99", _p99(each))):
            found.append(Result(f"netconf.transaction.{case}.{name}", value, "ms", 1, note, peer, value / bare))
    return found


async def _parallel(leaves: Sequence[Running]) -> list[Result]:
    found = []
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(open_session(_address(leaf))) for leaf in leaves]
        await asyncio.gather(*(apply_all(session, _leaf(_PORTS, 1)) for session in sessions))
        for size in _SIZES:
            walls, each, cpu = [], [], time.process_time()
            for generation in range(2, _ROUNDS + 2):
                wanted = _leaf(size, generation)
                began = time.perf_counter()
                each += await asyncio.gather(*(_timed(session, wanted) for session in sessions))
                walls.append((time.perf_counter() - began) * 1000)
            cpu = (time.process_time() - cpu) * 1000 / len(each)
            await asyncio.gather(*(apply_all(session, _leaf(_PORTS, 1)) for session in sessions))
            wall = statistics.median(walls)
            note = f"{size} of {_PORTS} ports on each at once; {wall / len(leaves):.0f} ms a leaf, {cpu:.0f} ms of CPU"
            found.append(Result(f"netconf.parallel.{size}.wall", wall, "ms", len(leaves), note))
            found.append(Result(f"netconf.parallel.{size}.p99", _p99(each), "ms", len(leaves), note))
    return found


def _one() -> list[Result]:
    with virtual_leaves(1, ports=_PORTS) as (leaf,):
        return asyncio.run(_transaction(leaf))


def _many() -> list[Result]:
    with virtual_leaves(_LEAVES, ports=_PORTS) as leaves:
        return asyncio.run(_parallel(leaves))


PARTS: dict[str, Callable[[], list[Result]]] = {"netconf.transaction": _one, "netconf.parallel": _many}

"""Boot nodes under load: a whole data centre that powers on within a minute, and an index that is read from nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from ipam.ledger import Want, take_all
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from netconf.desired import Link, LinkRole
from pxe.decide import Arch, Stage
from service.boot.feed import BootFeed
from service.boot.index import BootIndex
from service.cli.serve import seeded
from service.clock import WallClock
from service.lab.board import Board, LightSettings, NoBoot
from service.lab.firmware import acquire
from service.lab.first_stage import publish_light_images
from service.lab.parts import Nic
from service.lab.ports import free_port
from service.lab.rack import PORTS_PER_LEAF, mac_of
from service.lab.tftp_client import fetch_tftp
from service.store.embedded import embedded_postgres
from service.store.rows import open_pool
from tests.bench.result import Result

_MACHINES, _MINUTE_S = 10_000, 60.0
_INDEXED = 100_000
_SERVER = "127.0.0.9"
_LIMIT_S = 30.0
_CLIENTS = 2  # processes that the machines live in

_Outcome = tuple[list[float], list[str], float]  # waits in s, reasons of the lost, CPU in s


@dataclass(slots=True, eq=False)
class _Port:
    """A leaf's port with its boot link, which relays to the boot node."""

    leaf: str
    name: str
    links: list[Link]
    relay_to: tuple[IPv4Address, ...] = (IPv4Address(_SERVER),)

    @property
    def relay_source(self) -> IPv4Address | None:
        """The giaddr."""
        return IPv4Address(self.links[0].leaf.ip)

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing changes here."""


async def _populate(url: str, machines: int) -> None:
    """Leaves, ports with boot links, and machines that wait in the pool."""
    await seeded(url, "a token for benches")
    db = await open_pool(url, size=2)
    try:
        async with db.acquire() as conn, conn.transaction():
            await conn.execute(
                "INSERT INTO leaf (facility_id, name, host, username, secret, host_key)"
                " SELECT f.id, 'leaf' || n, '127.0.0.1', 'roundhouse', '', ''"
                " FROM facility AS f, generate_series(1, $1) AS n WHERE f.code = 'ewr1'",
                -(-machines // PORTS_PER_LEAF),
            )
            rows = await conn.fetch(
                "INSERT INTO leaf_port (leaf_id, name, profile)"
                " SELECT l.id, 'xe-0/0/' || n % $2, 'provisioning'"
                " FROM generate_series(0, $1 - 1) AS n JOIN leaf AS l ON l.name = 'leaf' || (n / $2 + 1)"
                " ORDER BY n RETURNING id",
                machines,
                PORTS_PER_LEAF,
            )
            vrf = await add_vrf(conn, "default")
            await add_prefix(conn, vrf, "127.64.0.0/10", "boot", block_length=31, facility="ewr1")
            prefixes, now = await prefixes_for(conn, "boot", "ewr1"), WallClock().now()
            for at in range(0, machines, 5000):
                wants = [Want(row["id"], "boot", "bench") for row in rows[at : at + 5000]]
                await take_all(conn, prefixes, wants, now=now, cool_down=now - now)
            await conn.execute(
                "INSERT INTO machine (facility_id, plan_id, port_id, name, mac, bmc_url, bmc_username, bmc_secret,"
                " state)"
                " SELECT f.id, (SELECT id FROM plan LIMIT 1), given.port, 'm' || given.n,"
                " ('02:52:48:' || substr(lpad(to_hex(given.n), 6, '0'), 1, 2) || ':'"
                " || substr(lpad(to_hex(given.n), 6, '0'), 3, 2) || ':' || substr(lpad(to_hex(given.n), 6, '0'), 5, 2))"
                "::macaddr, '', '', '', 'ready'"
                " FROM unnest($1::uuid[]) WITH ORDINALITY AS given (port, n), facility AS f WHERE f.code = 'ewr1'",
                [row["id"] for row in rows],
            )
        await db.execute("ANALYZE")
    finally:
        db.terminate()


@contextmanager
def _place(machines: int) -> Iterator[tuple[Path, str]]:
    """A state folder, and an embedded PostgreSQL in it that knows so many machines."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roundhouse-bench-")))
        folder.chmod(0o755)
        url = stack.enter_context(embedded_postgres(folder / "postgresql", durable=False))
        asyncio.run(_populate(url, machines))
        yield folder, url


@dataclass(frozen=True, slots=True)
class _Node:
    """A boot node in a process of its own."""

    pid: int
    ports: LightSettings
    http: int


@contextmanager
def _node(folder: Path, url: str) -> Iterator[_Node]:
    publish_light_images(folder / "images", (), image_bytes=1 << 16)
    udp, tcp = socket.SOCK_DGRAM, socket.SOCK_STREAM
    ports = LightSettings(
        dhcp_port=free_port(udp), relay_port=free_port(udp), tftp_port=free_port(udp), arch=Arch.UEFI_X64
    )
    http = free_port(tcp)
    environment = os.environ | {
        "ROUNDHOUSE_STATE_DIR": str(folder),
        "ROUNDHOUSE_BOOT_HOST": _SERVER,
        "ROUNDHOUSE_BOOT_PORT": str(http),
        "ROUNDHOUSE_DHCP_PORT": str(ports.dhcp_port),
        "ROUNDHOUSE_DHCP_RELAY_PORT": str(ports.relay_port),
        "ROUNDHOUSE_TFTP_PORT": str(ports.tftp_port),
        "ROUNDHOUSE_TOKEN": "a token for benches",
        "ROUNDHOUSE_LOG_LEVEL": "info",
    }
    command = [sys.executable, "-m", "service.cli.main", "serve", "--role", "boot", "--database-url", url]
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _await_ready(folder / "boot.log", process)
        yield _Node(process.pid, ports, http)
    finally:
        process.terminate()
        process.wait(20)


def _await_ready(log: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if b"service_ready" in log.read_bytes():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the boot node did not start:\n{log.read_text()[-2000:]}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def _machine(number: int, settings: LightSettings) -> Board:
    """Light machine `number`, from 0, in its leaf's port."""
    leaf = IPv4Interface((int(IPv4Address("127.64.0.0")) + 2 * number, 31))
    name = f"xe-0/0/{number % PORTS_PER_LEAF}"
    port = _Port(f"leaf{number // PORTS_PER_LEAF + 1}", name, [Link(LinkRole.BOOT, leaf)])
    return Board(f"m{number + 1}", Nic(mac_of(number + 1), port), settings, WallClock(), Random(number), [])


async def _boot(board: Board) -> None:
    """From power-on to the script: DHCP, first stage, DHCP, script. Raises NoBoot."""
    binding = await acquire(board, Stage.FIRMWARE)
    tftp = (str(binding.next_server), board.settings.tftp_port)
    await fetch_tftp(binding.address.ip, tftp, binding.file)
    binding = await acquire(board, Stage.IPXE)
    script = await asyncio.wait_for(_get(binding.file, str(binding.address.ip)), 15)
    if b"roundhouse.token=" not in script:
        raise NoBoot(f"no script: {script[:80]!r}")


async def _get(url: str, local: str) -> bytes:
    """An HTTP exchange as iPXE has it, at a fraction of what a real client library costs."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(local, 0))
    try:
        writer.write(f"GET {parts.path}?{parts.query} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


def _storm(settings: LightSettings, began: float, numbers: Sequence[tuple[float, int]]) -> _Outcome:
    """A process of machines; each is told when to power on, in seconds after the moment `began`."""
    began_cpu = time.process_time()
    waits, lost = asyncio.run(_power_on(settings, began, numbers))
    return waits, lost, time.process_time() - began_cpu


async def _power_on(
    settings: LightSettings, began: float, numbers: Sequence[tuple[float, int]]
) -> tuple[list[float], list[str]]:
    """Seconds from each machine's power-on to its script, and what went wrong instead."""
    waits, lost = list[float](), list[str]()

    async def one(number: int, moment: float) -> None:
        board = _machine(number, settings)
        for _ in range(5):  # firmware goes round its boot order
            try:
                await _boot(board)
                break
            except (NoBoot, OSError, TimeoutError) as err:
                reason = f"{board.name}: {err!r}"
        else:
            lost.append(reason)
            return
        waits.append(time.time() - moment)

    tasks = []
    for after, number in numbers:
        # The moment that was planned counts: a client that is late does not make the server look fast.
        moment = began + after
        await asyncio.sleep(max(0.0, moment - time.time()))
        tasks.append(asyncio.create_task(one(number, moment)))
    await asyncio.gather(*tasks)
    return waits, lost


def _plan() -> list[list[tuple[float, int]]]:
    """When each machine powers on, in no order of leaves, for each client process."""
    order = list(range(_MACHINES))
    Random(1).shuffle(order)
    planned = [(place * _MINUTE_S / _MACHINES, number) for place, number in enumerate(order)]
    return [planned[client::_CLIENTS] for client in range(_CLIENTS)]


def storm() -> list[Result]:
    """10,000 machines power on within a minute on one boot node."""
    with _place(_MACHINES) as (folder, url), _node(folder, url) as node:
        began = _cpu_s(node.pid)
        started = time.monotonic()
        moment = time.time() + 2
        with ProcessPoolExecutor(_CLIENTS, multiprocessing.get_context("spawn")) as clients:
            outcomes = list(clients.map(partial(_storm, node.ports, moment), _plan()))
        took = time.monotonic() - started
        cpu, memory = _cpu_s(node.pid) - began, _memory_mib(node.pid, "VmHWM")
    waits = sorted(wait for one in outcomes for wait in one[0])
    lost = [reason for one in outcomes for reason in one[1]]
    late = sum(wait > _LIMIT_S for wait in waits) + len(lost)
    note = f"{len(waits)} of {_MACHINES} machines in {took:.0f} s, 1 boot node; {late} late or lost"
    return [
        Result("boot.storm.p50", waits[len(waits) // 2], "s", clients=_MACHINES, note=note),
        Result("boot.storm.p99", waits[len(waits) * 99 // 100], "s", clients=_MACHINES),
        Result(
            "boot.storm.max",
            waits[-1],
            "s",
            clients=_MACHINES,
            note="from power-on to the script" + (f"; lost: {lost[:3]}" if lost else ""),
            peer="limit",
            ratio=waits[-1] / _LIMIT_S,
        ),
        Result("boot.storm.cpu", cpu, "s", clients=_MACHINES, note=f"of the node's process in {took:.0f} s"),
        Result("boot.storm.clients.cpu", sum(one[2] for one in outcomes), "s", clients=_MACHINES, note="all machines"),
        Result("boot.storm.memory", memory, "MiB", clients=_MACHINES, note="of the node's process, at most"),
    ]


async def _index(url: str) -> tuple[float, int]:
    feed = BootFeed(url, BootIndex(), WallClock())
    began = time.monotonic()
    running = asyncio.create_task(feed.run())
    await feed.ready.wait()
    took = time.monotonic() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return took, len(feed.index)


def index() -> list[Result]:
    """An index of 100,000 machines from nothing."""
    with _place(_INDEXED) as (_, url):
        before = _memory_mib(os.getpid(), "VmRSS")
        took, ports = asyncio.run(_index(url))
        memory = _memory_mib(os.getpid(), "VmRSS") - before
    return [
        Result("boot.index.rebuilt", took, "s", note=f"{ports} ports read from the database"),
        Result("boot.index.memory", memory, "MiB", note="that the process grew by"),
    ]


PARTS = {"boot.storm": storm, "boot.index": index}

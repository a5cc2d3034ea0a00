"""TFTP: real clients against our server and others' in one run; links that lose; thousands of transfers at once."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from pxe.tftp import packets
from service.lab.board import NoBoot
from service.lab.tftp_client import fetch_tftp
from tests.bench.result import Result
from tests.bench.tftp_link import serve_lossy
from tests.bench.tftp_peers import OURS, Peer, names, running

_SIZE = 1_000_000
_FILE, _PROBE = "one-megabyte", "small"
_ROUNDS = {1: 15, 50: 11}  # by the number of clients
_LOSS_CLIENTS = 20
_LOSSES = (0.005, 0.02)
_STORM = 300
_OPEN = 10_000
_LOCK_STEP = {"blksize": "1468"}
_WINDOW = {"blksize": "1468", "windowsize": "16"}


def _curl(peer: Peer, blksize: int) -> list[str]:
    return ["curl", "-sf", "-o", os.devnull, "--tftp-blksize", str(blksize), f"{peer.url}/{_FILE}"]


def _atftp(peer: Peer) -> list[str]:
    options = [part for name, value in _WINDOW.items() for part in ("--option", f"{name} {value}")]
    return ["atftp", *options, "--get", "-r", _FILE, "-l", os.devnull, peer.host, str(peer.port)]


def _plain(peer: Peer) -> list[str]:
    return _curl(peer, 512)


def _blksize(peer: Peer) -> list[str]:
    return _curl(peer, 1468)


_CASES = {"plain": ("curl", _plain), "blksize": ("curl", _blksize), "window": ("atftp", _atftp)}


@contextmanager
def _peers(wanted: Sequence[str], files: Mapping[str, bytes]) -> Iterator[list[Peer]]:
    """Those of the servers that are to be had; for the others it is said why not."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        found = []
        for name in wanted:
            try:
                found.append(stack.enter_context(running(name, folder, _PROBE)))
            except FileNotFoundError as err:
                print(f"tftp: without {name}: {err}", file=sys.stderr)
        yield found


def _files() -> dict[str, bytes]:
    return {_FILE: random.Random(1).randbytes(_SIZE), _PROBE: b"x"}


def _seconds(command: list[str], clients: int) -> float:
    """How long so many real clients take that start at once."""
    quiet = subprocess.DEVNULL
    began = time.perf_counter()
    processes = [subprocess.Popen(command, stdout=quiet, stderr=quiet) for _ in range(clients)]
    failed = sum(process.wait() != 0 for process in processes)
    took = time.perf_counter() - began
    if failed:
        raise AssertionError(f"{failed} of {clients} failed: {' '.join(command)}")
    return took


def _speed() -> list[Result]:
    found = []
    with _peers(names(), _files()) as peers:
        for case, (client, command) in _CASES.items():
            if shutil.which(client) is None:
                print(f"tftp: without {case}: needs the package {client}", file=sys.stderr)
                continue
            for clients, rounds in _ROUNDS.items():
                took: dict[str, list[float]] = {peer.name: [] for peer in peers}
                for turn in range(rounds):
                    # In another order each time, so that nobody always runs after the same one.
                    for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
                        took[peer.name].append(_seconds(command(peer), clients))
                speed = {name: clients * _SIZE / 1e6 / statistics.median(each) for name, each in took.items()}
                note = f"{client}, median of {rounds}"
                for name, value in speed.items():
                    if name != OURS:
                        ratio = speed[OURS] / value
                        row = f"tftp.speed.{case}.{clients}.{name}"
                        found.append(Result(row, speed[OURS], "MB/s", clients, note, f"{name} {value:.1f}", ratio))
    return found


async def _fetched(clients: int, server: tuple[str, int], options: Mapping[str, str]) -> list[float]:
    """Seconds of those of so many clients that got the file whole; one that waits repeats its ACK after a second."""
    content = _files()[_FILE]

    async def one(number: int) -> float | None:
        began = time.perf_counter()
        local = IPv4Address("127.80.0.1") + number
        try:
            got = await fetch_tftp(local, server, _FILE, options)
        except NoBoot:
            return None
        return time.perf_counter() - began if got == content else None

    each = await asyncio.gather(*(one(number) for number in range(clients)))
    return sorted(seconds for seconds in each if seconds is not None)


async def _over_a_lossy_link(peer: Peer, lose: float) -> list[float]:
    async with serve_lossy("127.0.0.1", (peer.host, peer.port), lose, seed=1) as link:
        return await _fetched(_LOSS_CLIENTS, link, _LOCK_STEP)


def _loss() -> list[Result]:
    found = []
    with _peers(["roundhouse", "tftpd-hpa", "atftpd", "tftpy"], _files()) as peers:
        for lose in _LOSSES:
            # A lost packet costs tftpy's own server five seconds: what it does is seen at the lower loss.
            chosen = [peer for peer in peers if peer.name != "tftpy" or lose < 0.01]
            took = {peer.name: asyncio.run(_over_a_lossy_link(peer, lose)) for peer in chosen}
            ours = took[OURS]
            row = f"tftp.loss.{lose * 100:g}%"
            whole = f"{len(ours)} of {_LOSS_CLIENTS} whole, slowest {ours[-1]:.2f} s" if ours else "none whole"
            for name, each in took.items():
                if name == OURS:
                    found.append(Result(f"{row}.whole", len(ours), "transfers", _LOSS_CLIENTS))
                elif each:
                    theirs = statistics.median(each)
                    peer = f"{name} {theirs:.2f}, {len(each)} whole"
                    value = statistics.median(ours)
                    found.append(Result(f"{row}.{name}", value, "s", _LOSS_CLIENTS, whole, peer, value / theirs))
    return found


def _resident(pid: int) -> int:
    """Bytes of memory that the process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _storm(peers: Sequence[Peer]) -> list[Result]:
    found = []
    for case, options in (("blksize", _LOCK_STEP), ("window", _WINDOW)):
        took: dict[str, tuple[float, int]] = {}
        for peer in peers:
            began = time.perf_counter()
            whole = len(asyncio.run(_fetched(_STORM, (peer.host, peer.port), options)))
            took[peer.name] = time.perf_counter() - began, whole
        seconds, whole = took[OURS]
        row = f"tftp.many.{case}.{_STORM}"
        found.append(Result(f"{row}.whole", whole, "transfers", _STORM, "our own client, one process for all"))
        for name, (theirs, their_whole) in took.items():
            if name != OURS:
                peer_note = f"{name} {theirs:.2f}, {their_whole} whole"
                found.append(
                    Result(f"{row}.{name}", seconds, "s", _STORM, "until the last one", peer_note, seconds / theirs)
                )
    return found


def _open(peer: Peer) -> list[Result]:
    """Ask for the file so many times, and acknowledge nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before, cpu, began = _resident(peer.pid), _cpu_s(peer.pid), time.perf_counter()
    request = packets.rrq(_FILE, _WINDOW)
    with ExitStack() as stack:
        sockets = []
        for number in range(_OPEN):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((str(IPv4Address("127.90.0.1") + number // 50), 0))
            sock.settimeout(5)
            sock.sendto(request, (peer.host, peer.port))
            sockets.append(sock)
            if number % 50 == 49:
                for one in sockets[-50:]:
                    one.recv(2048)
        took, spent = time.perf_counter() - began, _cpu_s(peer.pid) - cpu
        bytes_each = (_resident(peer.pid) - before) / _OPEN
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    note = f"{spent / _OPEN * 1e6:.0f} µs of CPU for each request"
    return [
        Result("tftp.many.open.requests", _OPEN / took, "/s", _OPEN, note),
        Result("tftp.many.open.memory", bytes_each, "bytes", _OPEN, "of each open transfer in the server's process"),
    ]


def _many() -> list[Result]:
    with _peers(["roundhouse", "tftpd-hpa", "atftpd"], _files()) as peers:
        found = _storm(peers)
    with _peers(["roundhouse"], _files()) as (ours,):
        return found + _open(ours)


PARTS = {"tftp.speed": _speed, "tftp.loss": _loss, "tftp.many": _many}

"""DHCP exchanges a second, asked by perfdhcp behind one relay: our server, Kea and dnsmasq, one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.result import Result

_MACHINES = 5000
_FIRST_MAC = "00:0c:01:00:00:00"
_SERVER, _RELAY = "10.99.0.1", "10.99.0.2"
_SECONDS = 3
_FIRST_RATE, _STEPS_BETWEEN = 125, 4
_P99_RATE, _P99_LIMIT_MS = 1000, 10.0
_RATE_LIMIT, _RATIO_LIMIT = 2000, 0.5
_POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
_KEA_TABLES = Path("/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql")
_PROGRAMS = {
    "ip": "iproute2",
    "perfdhcp": "kea-admin",
    "kea-dhcp4": "kea-dhcp4-server",
    "dnsmasq": "dnsmasq-base",
    str(_POSTGRESQL / "postgres"): "postgresql-15",
    str(_KEA_TABLES): "kea-common",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What perfdhcp saw of one run."""

    exchanges: int  # complete ones
    drops: int
    delays_ms: tuple[float, ...]  # of each answer, where it was asked for them

    @property
    def rate(self) -> float:
        """Complete exchanges a second."""
        return self.exchanges / _SECONDS

    @property
    def p99_ms(self) -> float:
        """The answer that one in a hundred is slower than."""
        return sorted(self.delays_ms)[len(self.delays_ms) * 99 // 100]


class Wire:
    """Two namespaces and a cable: the server's and the relay's."""

    def __init__(self) -> None:
        self.server, self.relay = (f"rhbench{os.getpid()}{side}" for side in "sr")

    def __enter__(self) -> Wire:
        for name in (self.server, self.relay):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", self.server, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", self.relay)
        for name, address in ((self.server, _SERVER), (self.relay, _RELAY)):
            _run("ip", "-n", name, "address", "add", f"{address}/16", "dev", "v0")
            _run("ip", "-n", name, "link", "set", "v0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.server, self.relay):
            subprocess.run(("ip", "netns", "del", name), check=False)

    @contextmanager
    def serving(self, *words: str, env: dict[str, str] | None = None) -> Iterator[int]:
        """A server while the block runs, which begins when it answers; gives its process id."""
        program = subprocess.Popen(
            ("ip", "netns", "exec", self.server, *words),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            while self.ask(50, seconds=1).exchanges == 0:
                if program.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{words[0]} does not answer")
            yield program.pid
        finally:
            program.terminate()
            program.wait(20)

    def ask(self, rate: int, *, seconds: int = _SECONDS, timed: bool = False) -> Run:
        """Ask for so many exchanges a second."""
        words = ["perfdhcp", "-4", "-l", _RELAY, "-r", str(rate), "-R", str(_MACHINES), "-b", f"mac={_FIRST_MAC}"]
        # After the last question it waits a second for what is under way.
        words += ["-p", str(seconds), "-W", "1000000", *(["-x", "t"] if timed else []), _SERVER]
        # It ends with a code of its own where anything was dropped.
        done = subprocess.run(("ip", "netns", "exec", self.relay, *words), capture_output=True, text=True, check=False)
        return _read(done.stdout)


def _read(report: str) -> Run:
    received = [int(number) for number in re.findall(r"received packets: (\d+)", report)]
    drops = [int(number) for number in re.findall(r"drops: (\d+)", report)]
    times = re.findall(r"sent / received: ([\d.]+) / ([\d.]+)", report)
    delays = tuple((float(answered) - float(asked)) * 1000 for asked, answered in times)
    return Run(received[1], sum(drops), delays)


def _highest(wire: Wire) -> Run:
    """The run of the highest rate that lost nothing: doubled until one does, then by steps between the last two."""
    best, rate = Run(0, 0, ()), _FIRST_RATE
    while (run := _best_of_two(wire, rate)) is not None:
        best, rate = run, rate * 2
    for step in range(1, _STEPS_BETWEEN):
        run = _best_of_two(wire, rate // 2 + rate // 2 * step // _STEPS_BETWEEN)
        if run is None:
            break
        best = run
    return best


def _best_of_two(wire: Wire, rate: int) -> Run | None:
    """A run that lost nothing and kept up with the rate, None where the second try did not either."""
    for _ in range(2):
        run = wire.ask(rate)
        if run.drops == 0 and run.rate > rate * 0.95:
            return run
    return None


@contextmanager
def _ours(wire: Wire, _folder: Path) -> Iterator[int]:
    words = [sys.executable, "-m", "tests.bench.dhcp_server", "--listen", _SERVER]
    with wire.serving(*words, "--machines", str(_MACHINES), "--first-mac", _FIRST_MAC) as process:
        yield process


@contextmanager
def _kea(wire: Wire, folder: Path, hosts: Mapping[str, str] | None = None) -> Iterator[int]:
    subnet = {"subnet": "10.99.0.0/16", "pools": [{"pool": "10.99.64.0 - 10.99.127.255"}], "id": 1}
    configuration = {
        "interfaces-config": {"interfaces": [f"v0/{_SERVER}"], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "name": str(folder / "leases.csv")},
        "valid-lifetime": 3600,
        "subnet4": [subnet],
        "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2},
        "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}],
        **({"hosts-database": hosts, "host-reservation-identifiers": ["hw-address"]} if hosts else {}),
    }
    (folder / "kea.conf").write_text(json.dumps({"Dhcp4": configuration}))
    env = {"KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": str(folder)}
    with wire.serving("kea-dhcp4", "-c", str(folder / "kea.conf"), env=env) as process:
        yield process


@contextmanager
def _kea_postgresql(wire: Wire, folder: Path) -> Iterator[int]:
    with _postgresql(folder) as sockets:
        hosts = {"type": "postgresql", "name": "kea", "user": "postgres", "host": str(sockets)}
        with _kea(wire, folder, hosts) as process:
            yield process


@contextmanager
def _postgresql(folder: Path) -> Iterator[Path]:
    """A cluster with Kea's tables and a reservation for each MAC; gives the folder of its socket."""
    as_server = ("runuser", "-u", "postgres", "--")
    data = folder / "postgresql"
    data.mkdir()
    shutil.chown(data, "postgres")
    control = (*as_server, str(_POSTGRESQL / "pg_ctl"), "-D", f"{data}/data")
    initdb = str(_POSTGRESQL / "initdb")
    _run(*as_server, initdb, "-D", f"{data}/data", "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=utf8")
    options = f"-c listen_addresses= -c unix_socket_directories={data}"
    _run(*control, "-l", f"{data}/log", "-w", "-o", options, "start")
    try:
        psql = (
            str(_POSTGRESQL / "psql"),
            "-q",
            "-h",
            str(data),
            "-U",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "SET client_min_messages = error",
        )
        _run(str(_POSTGRESQL / "createdb"), "-h", str(data), "-U", "postgres", "kea")
        _run(*psql, "-d", "kea", "-f", str(_KEA_TABLES))
        _run(*psql, "-d", "kea", "-c", _reservations())
        yield data
    finally:
        _run(*control, "-m", "immediate", "stop")


def _reservations() -> str:
    first_mac = int(_FIRST_MAC.replace(":", ""), 16)
    return f"""
        INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address)
        SELECT decode(lpad(to_hex({first_mac} + n), 12, '0'), 'hex'), 0, 1, ('10.99.16.0'::inet - '0.0.0.0'::inet) + n
        FROM generate_series(0, {_MACHINES - 1}) AS n;
        ANALYZE hosts
    """


@contextmanager
def _dnsmasq(wire: Wire, folder: Path) -> Iterator[int]:
    words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="]
    words += [f"--dhcp-leasefile={folder}/leases", f"--dhcp-lease-max={4 * _MACHINES}", "--no-ping", "--quiet-dhcp"]
    with wire.serving(*words, "--dhcp-range=10.99.16.0,10.99.127.255,255.255.0.0,1h") as process:
        yield process


_SERVERS: dict[str, Callable[[Wire, Path], contextlib.AbstractContextManager[int]]] = {
    "ours": _ours,
    "Kea with PostgreSQL host reservations": _kea_postgresql,
    "Kea memfile": _kea,
    "dnsmasq": _dnsmasq,
}


def _exchanges() -> list[Result]:
    missing = sorted({package for program, package in _PROGRAMS.items() if not shutil.which(program)} - _there())
    if missing or os.geteuid() != 0:
        print(f"dhcp.dora needs root and the packages {', '.join(missing) or '(all there)'}", file=sys.stderr)
        return []
    highest: dict[str, Run] = {}
    timed: dict[str, Run] = {}
    cpu_us = 0.0
    with Wire() as wire:
        for name, serving in _SERVERS.items():
            with tempfile.TemporaryDirectory(prefix="roundhouse-bench-") as place:
                folder = Path(place)
                folder.chmod(0o755)
                with serving(wire, folder) as process:
                    highest[name] = _highest(wire)
                    before = _cpu_seconds(process)
                    timed[name] = wire.ask(_P99_RATE, timed=True)
                    if name == "ours":
                        cpu_us = (_cpu_seconds(process) - before) / max(1, len(timed[name].delays_ms)) * 1e6
    return _results(highest, timed, cpu_us)


def _results(highest: dict[str, Run], timed: dict[str, Run], cpu_us: float) -> list[Result]:
    ours = highest["ours"].rate
    note = f"full exchanges a second without loss, relayed, {_MACHINES} machines, the port told by the MAC; "
    note += f"{cpu_us:.0f} us of CPU a message at {_P99_RATE}/s; "
    note += f"limits: {_RATE_LIMIT}/s, {_RATIO_LIMIT} x Kea with PostgreSQL host reservations"
    found = []
    for name, run in highest.items():
        if name != "ours":
            peer = f"{name}: {run.rate:.0f}/s"
            found.append(Result(f"dhcp.dora.{_slug(name)}", ours, "1/s", 1, note, peer, ours / run.rate))
    for name, run in timed.items():
        if name != "ours" and run.delays_ms:
            lost = f", {run.drops} lost" if run.drops else ""
            peer = f"{name}: {run.p99_ms:.2f} ms{lost}"
            p99 = timed["ours"].p99_ms
            note = (
                f"answer, at {_P99_RATE} exchanges a second; limit {_P99_LIMIT_MS:.0f} ms; {timed['ours'].drops} lost"
            )
            found.append(Result(f"dhcp.dora.p99.{_slug(name)}", p99, "ms", 1, note, peer, p99 / run.p99_ms))
    return found


def _slug(name: str) -> str:
    return name.lower().replace(" with ", " ").removesuffix(" host reservations").replace(" ", "-")


def _cpu_seconds(process: int) -> float:
    """What a process has computed so far, in its own code and in the kernel."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _there() -> set[str]:
    return {package for file, package in _PROGRAMS.items() if Path(file).is_absolute() and Path(file).exists()}


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


PARTS: dict[str, Callable[[], list[Result]]] = {"dhcp.dora": _exchanges}

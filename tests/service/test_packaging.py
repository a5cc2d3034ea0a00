"""What is installed is what is here: what pyproject.toml forgets is missed on somebody else's machine only."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "ipam", "netconf", "pxe", "images", "sql")


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(file.parent.relative_to(ROOT).parts) for top in PACKAGES for file in (ROOT / top).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(there)

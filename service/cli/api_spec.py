"""`roundhouse api spec`: the OpenAPI 3.1 document of this program's API, for generators of clients and other tools."""

from __future__ import annotations

import argparse
import json

from service.api.app import ALL_ROUTES, SIGNED
from service.api.openapi import document


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(_arguments: argparse.Namespace) -> int:
    """Print it; the exit code."""
    print(json.dumps(document(ALL_ROUTES, SIGNED), indent=2))
    return 0

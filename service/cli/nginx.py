"""`roundhouse boot-node nginx`: a configuration for nginx in front of a boot node (docs/nginx.md)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pxe.nginx import configuration
from service.settings import BadSetting, images_of, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where nginx listens, and where the service does."""
    parser.add_argument("--listen", action="append", required=True, metavar="HOST:PORT", help="which machines call")
    parser.add_argument("--service", metavar="HOST:PORT", help="default: boot_host and boot_port of the settings")
    parser.add_argument("--images", type=Path, help="the store (default: images_dir, then var/images)")


def run(arguments: argparse.Namespace) -> int:
    """Print it; the exit code."""
    try:
        settings = read_settings()
        store = arguments.images or images_of(settings)
        service = arguments.service or f"{settings.boot_host}:{settings.boot_port}"
        sys.stdout.write(configuration(arguments.listen, service, store.resolve() / "sha256"))
    except (BadSetting, ValueError) as err:
        print(f"roundhouse boot-node nginx: {err}", file=sys.stderr)
        return 1
    return 0

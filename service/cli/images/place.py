"""What the commands have in common: the store's place, refusals, and a test boot with what it says."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from images.build.host import BuildError
from images.build.sbom import BadSbom
from images.store import Artefact, StoreError, annotate
from service.cli.output import Output, warn
from service.lab import trial
from service.lab.qemu import Firmware, MachineError
from service.settings import BadSetting, Settings, images_of, read_settings

# A system of another distribution that makes its keys and asks for its network on an emulated processor.
TRIAL_LIMIT_S = 300.0


def add_store(parser: ArgumentParser) -> None:
    """Where the images are."""
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="the store (default: images_dir, then var/images)"
    )


def add_patience(parser: ArgumentParser) -> None:
    """How long a system may take to come up."""
    help_ = f"for a test boot, until it is given up ({TRIAL_LIMIT_S:g})"
    parser.add_argument("--patience", type=float, default=TRIAL_LIMIT_S, metavar="SECONDS", help=help_)


def add_json(parser: ArgumentParser) -> None:
    """How results are printed."""
    parser.add_argument("--json", action="store_true", default=None, dest="json_here", help="print JSON")


def output_of(arguments: Namespace) -> Output:
    """Where results go."""
    return Output(as_json=bool(arguments.json or arguments.json_here))


def carried_out(verb: str, arguments: Namespace, work: Callable[[Namespace, Settings, Path], int]) -> int:
    """Do `work` with the settings and the store; a refusal is said on standard error and gives exit code 1."""
    try:
        settings = read_settings()
        store: Path = arguments.images or images_of(settings)
        status = work(arguments, settings, store.resolve())
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: no word about it at exit
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell says it
    except (BadSetting, BadSbom, BuildError, StoreError, MachineError, OSError) as err:
        warn(f"roundhouse image {verb}: {err}")
        return 1


def said(artefact: Artefact) -> str:
    """A release in a line."""
    image = artefact.image
    size = f", image {image.bytes >> 20} MiB of {image.disk_bytes >> 20} MiB" if image else ""
    kernel = f"kernel {artefact.kernel_release}, initrd {artefact.initrd.bytes >> 20} MiB"
    return f"{artefact.slug} {artefact.id}: {kernel}{size}"


def try_out(store: Path, artefact: Artefact, firmwares: Sequence[Firmware], limit_s: float) -> bool:
    """Start the release's image once with each firmware and write down how that ended; true if it always came up."""
    if artefact.image is None:
        raise StoreError(f"{artefact.slug} has no disk image that could be started")
    outcome: dict[str, Any] = {}
    for firmware in firmwares:
        warn(f"{artefact.slug}: starting {artefact.id} by {firmware} (at most {limit_s:g} s)")
        ended = trial.boot(store, artefact.image, firmware, limit_s, _shown)
        _shown("")
        outcome[firmware] = {
            "booted": ended.booted,
            "seconds": ended.seconds,
            "reason": ended.reason,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        annotate(store, artefact.slug, artefact.id, tested={firmware: outcome[firmware]})
        if ended.booted:
            warn(f"{artefact.slug}: {firmware}: up after {ended.seconds} s")
        else:
            warn(f"{artefact.slug}: {firmware}: did not come up: {ended.reason}; it printed last:\n{ended.console}")
    return all(one["booted"] for one in outcome.values())


def _shown(line: str) -> None:
    if sys.stderr.isatty():
        plain = "".join(letter for letter in line if letter.isprintable())
        sys.stderr.write(f"\r\x1b[2K{plain[:100]}")
        sys.stderr.flush()

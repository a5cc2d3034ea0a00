"""`python -m images.build installer|debian-12 --out STORE`: builds what has changed and prints its index entry."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from images.build import targets
from images.build.host import BuildError
from images.store import StoreError


def main() -> int:
    """Exit code 0: built or already there; 1: the reason is on standard error; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("what", choices=targets.NAMES)
    parser.add_argument("--arch", choices=targets.ARCHITECTURES, default="amd64", help="the machines' (amd64)")
    parser.add_argument("--out", type=Path, required=True, help="the store's folder")
    arguments = parser.parse_args()
    try:
        artefact = targets.build(arguments.what, arguments.arch, arguments.out.resolve())
    except (BuildError, StoreError) as err:
        sys.stderr.write(f"{parser.prog}: {err}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(artefact), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

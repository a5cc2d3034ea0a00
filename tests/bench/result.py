"""One figure of a benchmark, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.cli.output import table


@dataclass(frozen=True, slots=True)
class Result:
    """A figure. `peer` says what it is compared with in the same run, `ratio` is the figure over the peer's."""

    name: str
    value: float
    unit: str
    clients: int = 1
    note: str = ""
    peer: str | None = None
    ratio: float | None = None


def keep(path: Path, results: Sequence[Result]) -> None:
    """Write the figures down; those of parts that were not run now stay."""
    kept = {row["name"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    kept |= {result.name: asdict(result) for result in results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([kept[name] for name in sorted(kept)], indent=2) + "\n")


def shown(results: Sequence[Result]) -> str:
    """The figures as a table."""
    rows = [["NAME", "VALUE", "UNIT", "CLIENTS", "RATIO", "PEER", "NOTE"]]
    for one in results:
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
        rows.append([one.name, f"{one.value:,.2f}", one.unit, str(one.clients), ratio, one.peer or "-", one.note])
    return table(rows)

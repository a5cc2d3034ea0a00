"""What was checked, as a table in build/native-validators.md; nothing is asserted here."""

from __future__ import annotations

import json
from pathlib import Path

TABLE = Path(__file__).parents[3] / "build" / "native-validators.md"
_HEAD = "| system | orders | refused by name | judges |\n| --- | --- | --- | --- |\n"


def tell(slug: str, accepted: int, refused: int, judges: str) -> None:
    """Put one system's row into the table. Tests run side by side, so each row is a file of its own first."""
    folder = TABLE.parent / "native-validators"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{slug}.json").write_text(json.dumps([slug, accepted, refused, judges]))
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    made = TABLE.with_suffix(f".{slug}")
    made.write_text(_HEAD + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows))
    made.replace(TABLE)

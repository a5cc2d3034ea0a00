"""How times and amounts are written on the pages."""

from __future__ import annotations

from datetime import datetime


def seconds(value: float | None) -> str:
    """A duration in the unit that a person would choose."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.0f} s"
    if value < 3600:
        return _two(value, 60, "min", "s")
    return _two(value / 60, 60, "h", "min") if value < 86400 else f"{value / 86400:.0f} d"


def _two(value: float, size: int, large: str, small: str) -> str:
    whole, rest = divmod(int(value), size)
    return f"{whole} {large} {rest:02} {small}" if rest else f"{whole} {large}"


def ago(now: datetime, moment: datetime | None) -> str:
    """How long something is past, coarsely: what changes each second would keep the page moving."""
    if moment is None:
        return "–"
    past = (now - moment).total_seconds()
    if past < 5:
        return "just now"
    if past < 60:
        return f"{past // 5 * 5:.0f} s ago"
    if past < 3600:
        return f"{past // 60:.0f} min ago"
    if past < 86400:
        return f"{past // 3600:.0f} h ago"
    return f"{moment:%Y-%m-%d}"


def count(value: int) -> str:
    """A number with thin spaces between the thousands; powers of two in the millions are shortened."""
    if value >= 1 << 40:
        return f"2^{value.bit_length() - 1}" if value & (value - 1) == 0 else f"{value:.1e}"
    return f"{value:,}".replace(",", "\u202f")


def stage_name(step: str) -> str:
    """A step's name as words."""
    return step.replace("_", " ")

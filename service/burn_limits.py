"""What a burn-in may measure: limits by name with their usual values, which a plan may set otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. Its name ends in `_max` or `_min`; a minimum of 0 is none.

    `part` and `field` say where in the agent's result the figure stands (`images.protocol.BurnInResult`).
    """

    name: str
    part: str
    field: str
    usual: float
    words: str  # what is measured
    unit: str = ""
    per: float = 1  # of the figure, to one unit

    @property
    def is_least(self) -> bool:
        """Whether the figure must not be below it, rather than above."""
        return self.name.endswith("_min")


_MB = 1e6
LIMITS = (
    Limit("cpu_wrong_max", "cpu", "wrong", 0, "wrong results of the processors"),
    Limit("cpu_temperature_c_max", "cpu", "temperature_c", 98, "the processors' temperature", " °C"),
    Limit("memory_errors_max", "memory", "errors", 0, "MiB of memory that lost what was written"),
    Limit("memory_uncorrected_max", "memory", "uncorrected", 0, "memory errors that could not be corrected"),
    Limit("memory_corrected_max", "memory", "corrected", 0, "memory errors that were corrected"),
    Limit("memory_mbps_min", "memory", "bytes_per_s", 0, "the memory's rate", " MB/s", _MB),
    Limit("disk_errors_max", "disks", "errors", 0, "errors"),
    Limit("disk_write_mbps_min", "disks", "write_bytes_per_s", 0, "writing", " MB/s", _MB),
    Limit("disk_read_mbps_min", "disks", "read_bytes_per_s", 0, "reading", " MB/s", _MB),
    Limit("network_errors_max", "network", "errors", 0, "transfers that broke"),
    Limit("network_link_errors_max", "network", "link_errors", 0, "broken frames"),
    Limit("network_download_mbps_min", "network", "download_bytes_per_s", 0, "the download's rate", " MB/s", _MB),
    Limit("network_upload_mbps_min", "network", "upload_bytes_per_s", 0, "the upload's rate", " MB/s", _MB),
)
NAMES = tuple(limit.name for limit in LIMITS)


def findings(result: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """Each figure beyond its limit as a sentence with both. `limits` are a plan's own.

    A part that was tried and tells no figure, or a disk part without a disk, is a finding, too.
    """
    found = []
    for limit in LIMITS:
        bound = float(limits.get(limit.name, limit.usual))
        for about, figures in _parts(result, limit.part):
            value = figures.get(limit.field)
            if not isinstance(value, int | float) or isinstance(value, bool):
                found.append(f"{about}{limit.words}: the agent told nothing")
                continue
            measured = value / limit.per
            if limit.is_least and measured < bound:
                found.append(
                    f"{about}{limit.words}: {measured:g}{limit.unit}, at least {bound:g}{limit.unit} is allowed"
                )
            elif not limit.is_least and measured > bound:
                why = f" ({figures['first_error']})" if figures.get("first_error") else ""
                found.append(
                    f"{about}{limit.words}: {measured:g}{limit.unit}{why}, at most {bound:g}{limit.unit} is allowed"
                )
    return found


def _parts(result: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The figures of a part that was tried: one set, or one for each disk, with what they are about."""
    part = result.get(name)
    if isinstance(part, list):
        for disk in part:
            yield f"{disk.get('path')} ({disk.get('serial') or 'no serial number'}), ", disk
    elif isinstance(part, dict):
        yield "", part

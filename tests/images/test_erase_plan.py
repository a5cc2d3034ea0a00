"""The plan of an erase: from what a controller reports to an order of methods with their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.agent.erase_plan import Capabilities, plan

TB = 10**12
METHODS = (
    *("nvme-sanitize-block", "nvme-sanitize-crypto", "nvme-sanitize-overwrite", "nvme-format-crypto"),
    *("nvme-format-erase", "ata-sanitize-block", "ata-sanitize-crypto", "ata-sanitize-overwrite"),
    *("ata-security-enhanced", "ata-security", "scsi-sanitize-block", "scsi-sanitize-crypto"),
    *("scsi-sanitize-overwrite", "scsi-format-unit"),
)


@given(
    methods=st.frozensets(st.sampled_from(METHODS)),
    rotational=st.booleans(),
    shared=st.booleans(),
    size=st.integers(512, 100 * TB),
    estimates=st.dictionaries(st.sampled_from(METHODS), st.floats(0, 1e6)),
)
def test_every_disk_has_a_plan_whose_writing_from_here_comes_after_what_the_disk_does_itself(
    methods: frozenset[str], rotational: bool, shared: bool, size: int, estimates: dict[str, float]
) -> None:
    found = Capabilities("block", size, rotational, methods, estimates=estimates, controller_shared=shared)
    steps = plan(found)
    names = [step.name for step in steps]
    writing = "overwrite-zeros" if rotational else "overwrite-pattern"
    assert len(set(names)) == len(names)
    assert set(names) <= methods | {"discard-zeroes", writing} and {"discard-zeroes", writing} <= set(names)
    assert names[names.index(writing) + 1 :] == ["scsi-format-unit"] * ("scsi-format-unit" in methods)
    for step in steps:
        assert step.limit_s >= max(600, step.expected_s)
        assert step.whole is step.name.startswith("nvme-sanitize")
        assert bool(step.refused) is (shared and step.whole)
        if step.name in estimates:
            assert step.expected_s == estimates[step.name]


@pytest.mark.parametrize(("methods", "rotational", "expected"), [
    ({"nvme-format-erase", "nvme-sanitize-block", "nvme-sanitize-overwrite", "nvme-sanitize-crypto"}, False,
     ["nvme-sanitize-block", "nvme-sanitize-crypto", "nvme-format-erase", "discard-zeroes", "nvme-sanitize-overwrite",
      "overwrite-pattern"]),
    ({"ata-security", "ata-security-enhanced", "ata-sanitize-overwrite", "ata-sanitize-crypto"}, True,
     ["ata-sanitize-crypto", "ata-security-enhanced", "ata-sanitize-overwrite", "ata-security", "discard-zeroes",
      "overwrite-zeros"]),
    ({"scsi-format-unit", "scsi-sanitize-overwrite"}, True,
     ["scsi-sanitize-overwrite", "discard-zeroes", "overwrite-zeros", "scsi-format-unit"]),
    (set(), False, ["discard-zeroes", "overwrite-pattern"]),
], ids=["NVMe flash", "ATA spinning", "SCSI spinning", "virtual"])  # fmt: skip
def test_the_best_method_comes_first(methods: set[str], rotational: bool, expected: list[str]) -> None:
    found = Capabilities("block", 4 * TB, rotational, frozenset(methods))
    assert [step.name for step in plan(found)] == expected


def test_what_firmware_has_frozen_is_in_the_plan_with_its_reason() -> None:
    found = Capabilities("ata", TB, False, frozenset({"ata-security"}), refusals={"ata-security": "frozen"})
    assert next((step.name, step.refused) for step in plan(found)) == ("ata-security", "frozen")


def test_times_grow_with_the_disk() -> None:
    small, large = (plan(Capabilities("block", size, True))[-1] for size in (TB, 20 * TB))
    assert (round(small.expected_s), round(small.limit_s)) == (6667, 20_000)
    assert large.expected_s == 20 * small.expected_s

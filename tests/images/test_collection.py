"""Collection: what goes, what never goes, and what a process that is killed in the middle leaves."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from images import store
from images.collection import Collected, Keep, collect
from tests.images.test_store import made

LATER = datetime.now(UTC) + timedelta(days=60)
NONE_YOUNG = timedelta(0)


def there(root: Path) -> set[str]:
    """The hashes that the store has files of."""
    return {path.name for path in (root / "sha256").iterdir()}


def referred(root: Path) -> set[str]:
    """The hashes that its releases refer to."""
    releases = [one for known in store.load_releases(root).values() for one in known.releases.values()]
    return {stored.sha256 for release in releases for stored in release.files.values()}


def three(root: Path) -> list[str]:
    """Three releases, the middle one current; their ids from the oldest."""
    ids = []
    for number, text in enumerate(("one", "two", "three")):
        release = store.publish(root, made(root, text), current=text == "two")
        _dated(root, release.id, f"2026-01-0{number + 1}T00:00:00+00:00")
        ids.append(release.id)
    return ids


def _dated(root: Path, release_id: str, published: str) -> None:
    raw = json.loads((root / store.INDEX).read_text())
    raw["debian_12"]["releases"][release_id]["published"] = published
    (root / store.INDEX).write_text(json.dumps(raw))


def test_old_releases_go_with_the_files_that_only_they_had(tmp_path: Path) -> None:
    old, now, new = three(tmp_path)
    found = collect(tmp_path, Keep(newest=1), now=LATER)
    assert found.releases == (("debian_12", old),)
    assert (len(found.files), found.bytes) == (2, len("one") + len("map of one"))
    assert set(store.load_releases(tmp_path)["debian_12"].releases) == {now, new}
    assert there(tmp_path) == referred(tmp_path)
    assert collect(tmp_path, Keep(newest=1), now=LATER) == Collected((), (), 0)


def test_a_dry_run_says_the_same_and_does_nothing(tmp_path: Path) -> None:
    three(tmp_path)
    before = (tmp_path / store.INDEX).read_bytes(), there(tmp_path)
    would = collect(tmp_path, Keep(newest=0), now=LATER, dry_run=True)
    assert ((tmp_path / store.INDEX).read_bytes(), there(tmp_path)) == before
    assert collect(tmp_path, Keep(newest=0), now=LATER) == would
    assert len(would.releases) == 2


def test_the_current_release_stays_however_old_it_is(tmp_path: Path) -> None:
    _, now, _ = three(tmp_path)
    collect(tmp_path, Keep(newest=0, younger=NONE_YOUNG), now=LATER)
    assert set(store.load_releases(tmp_path)["debian_12"].releases) == {now}


def test_what_somebody_refers_to_stays(tmp_path: Path) -> None:
    old, now, _ = three(tmp_path)
    collect(tmp_path, Keep(newest=0, wanted={"debian_12": [old]}), now=LATER)
    assert set(store.load_releases(tmp_path)["debian_12"].releases) == {old, now}
    assert referred(tmp_path) == there(tmp_path)


def test_what_is_young_stays(tmp_path: Path) -> None:
    ids = three(tmp_path)
    collect(tmp_path, Keep(newest=0, younger=timedelta(days=365)), now=datetime(2026, 6, 1, tzinfo=UTC))
    assert set(store.load_releases(tmp_path)["debian_12"].releases) == set(ids)


def test_a_build_that_has_not_published_yet_loses_nothing(tmp_path: Path) -> None:
    unpublished = made(tmp_path, "new")
    assert collect(tmp_path, Keep(), now=datetime.now(UTC)).files == ()
    assert {stored.sha256 for stored in unpublished.files.values()} == there(tmp_path)


def test_files_that_were_there_before_a_build_made_them_again_are_its_own(tmp_path: Path) -> None:
    first = made(tmp_path, "new")
    for path in (tmp_path / "sha256").iterdir():
        os.utime(path, (1, 1))
    assert made(tmp_path, "new") == first
    assert collect(tmp_path, Keep(), now=datetime.now(UTC)).files == ()


def test_a_kind_of_file_that_only_a_newer_program_knows_stays(tmp_path: Path) -> None:
    release = store.publish(tmp_path, made(tmp_path, "one"))
    extra = made(tmp_path, "extra").files["image"]
    raw = json.loads((tmp_path / store.INDEX).read_text())
    raw["debian_12"]["releases"][release.id]["firmware"] = {"file": extra.file, "sha256": extra.sha256, "bytes": 5}
    (tmp_path / store.INDEX).write_text(json.dumps(raw))
    collect(tmp_path, Keep(), now=LATER)
    assert extra.sha256 in there(tmp_path)


def test_half_a_transfer_and_what_was_corrupt_go_in_time(tmp_path: Path) -> None:
    store.publish(tmp_path, made(tmp_path, "one"))
    for folder in ("incoming", "corrupt"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("x")
    assert collect(tmp_path, Keep(), now=datetime.now(UTC)).files == ()
    assert collect(tmp_path, Keep(), now=LATER).files == ("incoming/x", "corrupt/x")


def test_a_store_whose_index_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / store.INDEX).write_text("{")
    before = there(tmp_path)
    with pytest.raises(store.StoreError):
        collect(tmp_path, Keep(newest=0), now=LATER)
    assert there(tmp_path) == before


class Life(RuleBasedStateMachine):
    """Builds, publications, promotions and collections in any order; some die in the middle."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="store-")
        self.root = Path(self.folder.name)
        self.built: list[store.Artefact] = []

    @rule(text=st.sampled_from("abcdef"), slug=st.sampled_from(["debian_12", "flatcar"]))
    def build(self, text: str, slug: str) -> None:
        self.built.append(made(self.root, text, slug))

    @rule(data=st.data(), current=st.booleans())
    def publish(self, data: st.DataObject, current: bool) -> None:
        """Only what was built since the last look, as the day that an unpublished file has is not over."""
        if self.built:
            release = store.publish(self.root, self.built.pop(), current=current)
            assert release.published

    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        known = [(slug, one) for slug, all_ in store.load_releases(self.root).items() for one in all_.releases]
        if known:
            store.promote(self.root, *data.draw(st.sampled_from(known)))

    @rule(newest=st.integers(0, 3), days=st.sampled_from([0, 90]), dry=st.booleans())
    def collect(self, newest: int, days: int, dry: bool) -> None:
        # Months later, by which time no build of before is under way.
        self.built.clear()
        collect(self.root, Keep(newest=newest, younger=timedelta(days=days)), now=LATER, dry_run=dry)

    @rule(newest=st.integers(0, 3), deaths=st.integers(0, 4))
    def die_in_a_collection(self, newest: int, deaths: int) -> None:
        """Another process collects, and is killed at one of its writes to the store."""
        self.built.clear()
        child = os.fork()
        if child == 0:
            left = deaths
            try:

                def audit(event: str, arguments: object) -> None:
                    nonlocal left
                    if event in ("os.remove", "os.rename", "open") and str(self.root) in str(arguments):
                        left -= event != "open"
                        if left < 0:
                            os._exit(9)

                sys.addaudithook(audit)
                collect(self.root, Keep(newest=newest, younger=NONE_YOUNG), now=LATER)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    @invariant()
    def nothing_that_is_referred_to_is_lost(self) -> None:
        if hasattr(self, "root") and (self.root / "sha256").exists():
            missing = referred(self.root) - there(self.root)
            assert not missing
            assert all(known.current in (*known.releases, "") for known in store.load_releases(self.root).values())

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

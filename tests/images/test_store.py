"""The store's index: releases, which of them is current, and what an older program wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from images import store
from images.store import Artefact, StoreError


def made(root: Path, text: str, slug: str = "debian_12") -> Artefact:
    """An artefact of small files, not yet published; another text gives another release."""
    root.mkdir(parents=True, exist_ok=True)

    def written(content: str, name: str = ".draft") -> Path:
        source = root / name
        source.write_text(content)
        return source

    kernel, initrd = (store.put_file(root, written(name)) for name in ("kernel", "initrd"))
    image = store.put_image(root, written(text), written(f"map of {text}", ".map"), 4096)
    return Artefact(slug, "recipe", "6.1", kernel, initrd, image)


def test_a_release_is_named_by_what_it_is_made_of(tmp_path: Path) -> None:
    one, two = made(tmp_path, "one"), made(tmp_path, "two")
    assert one.id == made(tmp_path, "one").id != two.id
    assert replace(one, tested={"bios": {"seconds": 9}}, published="2026-01-01", signatures={"k": "s"}).id == one.id
    assert replace(one, recipe="other").id != one.id
    assert list(one.files) == ["kernel", "initrd", "image", "image.map"]


def test_the_current_release_is_the_one_that_was_promoted_last(tmp_path: Path) -> None:
    one = store.publish(tmp_path, made(tmp_path, "one"))
    two = store.publish(tmp_path, made(tmp_path, "two"), current=False)
    assert store.load(tmp_path) == {"debian_12": one} == {"debian_12": store.release(tmp_path, "debian_12")}
    assert store.release(tmp_path, "debian_12", two.id) == two
    store.promote(tmp_path, "debian_12", two.id)
    assert store.load(tmp_path) == {"debian_12": two}
    known = store.load_releases(tmp_path)["debian_12"]
    assert (known.current, known.serial, set(known.releases)) == (two.id, 3, {one.id, two.id})


def test_what_is_published_again_keeps_its_time_and_signatures(tmp_path: Path) -> None:
    first = store.publish(tmp_path, made(tmp_path, "one"))
    store.annotate(tmp_path, "debian_12", first.id, signatures={"key": "signed"})
    again = store.publish(tmp_path, replace(made(tmp_path, "one"), tested={"bios": {"seconds": 7}}))
    assert (again.published, again.signatures, again.tested) == (
        first.published,
        {"key": "signed"},
        {"bios": {"seconds": 7}},
    )
    assert store.release(tmp_path, "debian_12") == again


def test_a_signature_does_not_go_over_to_another_release(tmp_path: Path) -> None:
    first = store.publish(tmp_path, made(tmp_path, "one"))
    signed = store.annotate(tmp_path, "debian_12", first.id, signatures={"key": "signed"})
    assert store.publish(tmp_path, replace(signed, recipe="other")).signatures == {}


def test_an_unknown_release_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    one = store.publish(tmp_path, made(tmp_path, "one"))
    with pytest.raises(StoreError, match=f"no release abc .* has {one.id}"):
        store.promote(tmp_path, "debian_12", "abc")
    with pytest.raises(StoreError, match="none of ubuntu at all"):
        store.release(tmp_path, "ubuntu")
    store.publish(tmp_path, made(tmp_path, "one", "flatcar"), current=False)
    with pytest.raises(StoreError, match="no current release"):
        store.release(tmp_path, "flatcar")


def test_an_index_from_before_there_were_releases_and_maps_has_one_of_each_without_its_image(tmp_path: Path) -> None:
    whole = made(tmp_path, "one")
    files = {name: {"file": f.file, "sha256": f.sha256, "bytes": f.bytes} for name, f in whole.files.items()}
    image = files["image"] | {"disk_bytes": 4096}
    old = {"recipe": "recipe", "release": "6.1", "kernel": files["kernel"], "initrd": files["initrd"], "image": image}
    (tmp_path / store.INDEX).write_text(json.dumps({"debian_12": old}))
    one = replace(whole, image=None)  # in one stream, which no agent takes any more
    assert store.load(tmp_path) == {"debian_12": one}
    two = store.publish(tmp_path, made(tmp_path, "two"))
    assert set(store.load_releases(tmp_path)["debian_12"].releases) == {one.id, two.id}
    assert store.current(tmp_path, "debian_12", "recipe") == two


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"debian_12": {}}',
        '{"debian_12": {"current": "a", "serial": 1, "releases": {}}}',
        '{"debian_12": {"current": "", "serial": 1, "releases": {"a": {"recipe": 1}}}}',
    ],
    ids=["cut", "list", "empty", "current", "release"],
)
def test_a_broken_index_is_told_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / store.INDEX).write_text(text)
    with pytest.raises(StoreError, match=r"index\.json"):
        store.load(tmp_path)

"""Signatures of releases: what they cover, and what is said of a release that has none that counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images import signing, store
from images.signing import BadKey, NotSigned
from tests.images.test_store import made


def key(folder: Path, name: str) -> tuple[Path, str]:
    """A new key: the file of its private half, and the public half in base64."""
    file = folder / f"{name}.pem"
    return file, signing.make_key(file)


def signed(root: Path, file: Path) -> store.Artefact:
    """A published release that the key in the file has signed."""
    release = store.publish(root, made(root, "one"))
    return store.annotate(root, release.slug, release.id, signatures=signing.sign(signing.private_key(file), release))


def test_what_was_signed_is_accepted_by_its_key_alone(tmp_path: Path) -> None:
    file, public = key(tmp_path, "ours")
    _, other = key(tmp_path, "other")
    release = signed(tmp_path, file)
    assert signing.check(signing.public_keys(public), release) in release.signatures
    with pytest.raises(NotSigned, match=r"not signed by any of the keys .*only by"):
        signing.check(signing.public_keys(other), release)
    with pytest.raises(NotSigned, match=r"not signed by any of the keys [0-9a-f]+$"):
        signing.check(signing.public_keys(public), replace(release, signatures={}))


def test_a_key_is_exchanged_by_trusting_both_for_a_while(tmp_path: Path) -> None:
    (old_file, old), (new_file, new) = key(tmp_path, "old"), key(tmp_path, "new")
    release, both = signed(tmp_path, old_file), signing.public_keys(f"{old}, {new}\n")
    assert signing.check(both, release)
    again = store.annotate(
        tmp_path, release.slug, release.id, signatures=signing.sign(signing.private_key(new_file), release)
    )
    assert len(again.signatures) == 2
    assert signing.check(signing.public_keys(new), again)


@pytest.mark.parametrize(
    "change",
    [
        {"slug": "other"},
        {"recipe": "other"},
        {"kernel_release": "6.2"},
        {"published": "2000-01-01T00:00:00+00:00"},
        {"image": None},
        {"toolbox": store.StoredFile(f"sha256/{'0' * 64}", "0" * 64, 1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_of_a_release_can_be_changed_behind_its_signature(tmp_path: Path, change: dict[str, object]) -> None:
    file, public = key(tmp_path, "ours")
    release = replace(signed(tmp_path, file), **change)  # type: ignore[arg-type]
    with pytest.raises(NotSigned, match="wrong signature"):
        signing.check(signing.public_keys(public), release)


def test_every_file_of_a_release_is_covered(tmp_path: Path) -> None:
    file, _ = key(tmp_path, "ours")
    release = signed(tmp_path, file)
    text = signing.statement(release)
    assert all(stored.sha256.encode() in text for stored in release.files.values())


def test_test_boots_may_be_written_down_after_signing(tmp_path: Path) -> None:
    file, public = key(tmp_path, "ours")
    release = signed(tmp_path, file)
    tested = store.annotate(tmp_path, release.slug, release.id, tested={"bios": {"seconds": 9.5}})
    assert signing.check(signing.public_keys(public), tested)


def test_a_private_key_is_kept_from_others_and_never_written_over(tmp_path: Path) -> None:
    file, public = key(tmp_path, "ours")
    assert file.stat().st_mode & 0o077 == 0
    assert signing.public_text(signing.private_key(file)) == public
    with pytest.raises(FileExistsError):
        signing.make_key(file)


@pytest.mark.parametrize("text", ["§", "AAAA", "not base64!"], ids=["letters", "short", "words"])
def test_a_public_key_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadKey, match=r"is no|bytes"):
        signing.public_keys(text)


def test_a_file_without_a_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match="No such file"):
        signing.private_key(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadKey, match="no private key"):
        signing.private_key(tmp_path / "text")

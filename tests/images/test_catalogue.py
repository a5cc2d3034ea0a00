"""The catalogue of operating systems and the store of their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images import store
from images.catalogue import BadCatalogue, UnknownSystem, load_catalogue, parse_catalogue
from service.artefacts import Artefacts, NotBuilt

ENTRY = """
[[system]]
slug = "debian_12"
name = "Debian 12"
distro = "debian"
version = "12"
engine = "image"
engines = ["image", "native"]
network = "networkd"
architectures = ["amd64"]
default_user = "root"
install_budget_s = 240
first_boot_budget_s = 240
"""


def test_what_is_promised_is_on_offer() -> None:
    slugs = {system.slug for system in load_catalogue()}
    assert slugs >= {
        "debian_11",
        "debian_12",
        "debian_13",
        "ubuntu_20_04",
        "ubuntu_22_04",
        "ubuntu_24_04",
        "centos_7",
        "centos_stream_8",
        "centos_stream_9",
        "centos_stream_10",
        "coreos_stable",
        "flatcar_stable",
        "custom_ipxe",
    }
    assert load_catalogue().get("custom_ipxe").engine == "ipxe"
    with pytest.raises(UnknownSystem):
        load_catalogue().get("debian_99")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"debian_12"', '"Debian 12"', "slug"),
        ('engine = "image"', 'engine = "magic"', "engine 'magic'"),
        ('["amd64"]', '["sparc"]', "sparc"),
        ('["amd64"]', '"amd64"', "architectures 'amd64'"),
        ('["image", "native"]', '["image", "magic"]', "engines"),
        ('["image", "native"]', '["native"]', "engine 'image' is none of its engines native"),
        ('"networkd"', '"wicked"', "network 'wicked'"),
        ("240\nfirst", "-1\nfirst", "install_budget_s -1"),
        ('name = "Debian 12"\n', "", "name"),
        ("distro", "colour", "colour"),
        ("[[system]]", "[[system", "no TOML"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(old: str, new: str, named: str) -> None:
    parse_catalogue(ENTRY)
    with pytest.raises(BadCatalogue, match=named.replace("[", r"\[")):
        parse_catalogue(ENTRY.replace(old, new, 1))


def test_a_slug_is_listed_once() -> None:
    with pytest.raises(BadCatalogue, match="twice"):
        parse_catalogue(ENTRY + ENTRY)


def _artefact(root: Path, slug: str, text: str) -> store.Artefact:
    source = root / "source"
    source.write_text(text)
    kernel = store.put_file(root, source)
    source.write_text(text)
    map_ = root / "map"
    map_.write_text(f"map of {text}")
    return store.Artefact(slug, "recipe", "6.1", kernel, kernel, store.put_image(root, source, map_, 4096))


def test_the_service_sees_what_is_published(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    with pytest.raises(NotBuilt, match="roundhouse image build"):
        artefacts.image("debian_12")
    store.publish(tmp_path, _artefact(tmp_path, "debian_12", "one"))
    first = artefacts.image("debian_12")
    assert (artefacts.files / first.sha256).read_text() == "one"
    assert (artefacts.files / first.map.sha256).read_text() == "map of one"
    store.publish(tmp_path, _artefact(tmp_path, "debian_12", "two"))
    assert artefacts.image("debian_12") != first
    store.publish(tmp_path, replace(_artefact(tmp_path, "installer", "i"), image=None))
    assert artefacts.installer().kernel_release == "6.1"
    with pytest.raises(NotBuilt, match="no disk image"):
        artefacts.image("installer")


def test_a_file_that_was_changed_is_noticed(tmp_path: Path) -> None:
    stored = _artefact(tmp_path, "debian_12", "one").kernel
    store.verify(tmp_path, stored)
    (tmp_path / stored.file).write_text("two")
    with pytest.raises(store.StoreError, match="sha256"):
        store.verify(tmp_path, stored)

"""CentOS's kickstart files, judged by pykickstart, which Anaconda itself reads them with."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from images.catalogue import System, load_catalogue
from images.native import Rendered, render
from images.protocol import Storage, Wish
from tests.images.native import report
from tests.images.native.matrix import CLOUD, NETWORKS, SOURCES, STORAGES, accepted, wish
from tests.images.native.sandbox import machine, run

pykickstart_parser: Any = pytest.importorskip("pykickstart.parser", reason="needs pykickstart (extra dev)")
pykickstart_version: Any = pytest.importorskip("pykickstart.version", reason="needs pykickstart (extra dev)")

# One on each disk of a mirror is meant.
pytestmark = pytest.mark.filterwarnings("ignore:A partition with the mountpoint biosboot")

VERSIONS = {"centos_7": "RHEL7", "centos_stream_8": "RHEL8", "centos_stream_9": "RHEL9", "centos_stream_10": "RHEL10"}
PAYLOAD = re.compile(r"echo '[A-Za-z0-9+/=]+' \| base64 -d")
INCLUDE = "%include /run/roundhouse.ks\n"


def read(text: str, version: str) -> Any:
    """What Anaconda's reader makes of a kickstart file; raises what it complains about."""
    handler = pykickstart_version.makeVersion(pykickstart_version.stringToVersion(version))
    parser = pykickstart_parser.KickstartParser(handler, errorsAreFatal=True, missingIncludeIsFatal=True)
    parser.readKickstartFromString(text)
    return handler


def sections(text: str, name: str) -> list[str]:
    """The bodies of the sections of that name."""
    return re.findall(rf"^%{name}[^\n]*\n(.*?)^%end$", text, re.MULTILINE | re.DOTALL)


@functools.cache
def partitioning(pre: str, uefi: bool) -> str:
    """What the file's %pre script writes on the machine of the sandbox. Raises AssertionError with what it said."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = machine(root, uefi=uefi)
        done = run(["bash"], pre.replace("/run/roundhouse", f"{root}/roundhouse"), environment)
        said = (root / "roundhouse.said").read_text()
        assert (done.returncode, said) == (0, ""), said + done.stderr
        return (root / "roundhouse.ks").read_text().replace(str(root), "")


def whole(rendered: Rendered, *, uefi: bool) -> str:
    """The file as Anaconda sees it after %pre."""
    text = rendered.files["kickstart.ks"]
    (pre,) = sections(text, "pre")
    assert text.count(INCLUDE) == 1
    return text.replace(INCLUDE, partitioning(pre, uefi))


@pytest.mark.parametrize(("slug", "version"), VERSIONS.items())
def test_anacondas_reader_takes_every_order(slug: str, version: str) -> None:
    made, refused = accepted(load_catalogue().get(slug), CLOUD)
    judged = set()
    for case, rendered in made:
        for uefi in (False, True):
            # What is one word of base64 is nothing to the reader, and reading is slow: files that differ in such words
            # only are read once.
            text, words = PAYLOAD.subn("echo 'WORD' | base64 -d", whole(rendered, uefi=uefi))
            assert words == 1, case.name
            if text not in judged:
                handler = read(text, version)
                assert handler.network.hostname == "web1.example.net"
                assert handler.rootpw.isCrypted
                judged.add(text)
    assert refused == []
    assert len(made) >= 200
    report.tell(slug, len(made), 0, f"pykickstart {version}, BIOS and UEFI")


def test_a_wrong_word_is_noticed() -> None:
    rendered = render(load_catalogue().get("centos_stream_9"), wish(STORAGES["RAID 1"], NETWORKS["both"], ""), SOURCES)
    with pytest.raises(Exception, match="Unexpected arguments to raid"):
        read(whole(rendered, uefi=True).replace("--level=", "--raidlevel="), "RHEL9")


def layout(storage: Storage, *, uefi: bool) -> Any:
    """The reader's objects for an order's disks."""
    system: System = load_catalogue().get("centos_stream_9")
    return read(whole(render(system, wish(storage, NETWORKS["both"], ""), SOURCES), uefi=uefi), "RHEL9")


def test_each_disk_of_a_mirror_can_start_the_machine_alone() -> None:
    bios, uefi = layout(STORAGES["RAID 1"], uefi=False), layout(STORAGES["RAID 1"], uefi=True)
    boots = [part.disk for part in bios.partition.partitions if part.mountpoint == "biosboot"]
    assert boots == ["/dev/sdb", "/dev/sde"]
    arrays = {raid.mountpoint: (raid.level, len(raid.members)) for raid in uefi.raid.raidList}
    assert arrays == {"/boot/efi": ("RAID1", 2), "/boot": ("RAID1", 2), "/": ("RAID1", 2)}
    assert bios.bootloader.bootDrive == "/dev/sdb"
    assert uefi.clearpart.drives == uefi.ignoredisk.onlyuse == ["/dev/sdb", "/dev/sde"]


def test_encryption_lies_under_the_volume_group_and_its_passphrase_arrives_as_it_is() -> None:
    storage = STORAGES["RAID 1, LVM, encrypted"]
    handler = layout(storage, uefi=True)
    (root,) = [raid for raid in handler.raid.raidList if raid.mountpoint.startswith("pv.")]
    assert (root.encrypted, root.passphrase, root.luks_version) == (True, storage["passphrase"], "luks2")
    assert handler.volgroup.vgList[0].physvols == [root.mountpoint]
    assert [(volume.mountpoint, volume.vgname) for volume in handler.logvol.lvList] == [("/", "system")]
    assert [raid.encrypted for raid in handler.raid.raidList if raid.mountpoint == "/boot"] == [False]


def test_four_disks_are_a_stripe_of_mirrors_for_the_root_alone() -> None:
    arrays = {raid.mountpoint: raid.level for raid in layout(STORAGES["RAID 10"], uefi=False).raid.raidList}
    assert arrays == {"/boot": "RAID1", "/": "RAID10"}


def test_a_disk_that_is_missing_is_told_and_ends_the_installation(tmp_path: Path) -> None:
    storage: Storage = {"disks": [{"serial": "nobody's"}], "raid": "none", "lvm": False, "passphrase": ""}
    rendered = render(load_catalogue().get("centos_stream_9"), wish(storage, NETWORKS["both"], ""), SOURCES)
    (pre,) = sections(rendered.files["kickstart.ks"], "pre")
    heard = tmp_path / "heard"
    script = f'curl() {{ printf "%s\\n" "$@" > {heard}; }}\n' + pre.replace("/run/roundhouse", f"{tmp_path}/roundhouse")
    done = run(["bash"], script, machine(tmp_path))
    assert done.returncode == 1
    assert "disks: no disk with path '', serial 'nobody's'" in heard.read_text()
    assert heard.read_text().splitlines()[-1] == SOURCES.failed_url


@pytest.mark.parametrize(("slug", "version"), VERSIONS.items())
def test_without_a_password_root_is_locked(slug: str, version: str) -> None:
    ordered: Wish = {**wish(STORAGES["one disk"], NETWORKS["both"], ""), "password_hash": ""}
    handler = read(whole(render(load_catalogue().get(slug), ordered, SOURCES), uefi=False), version)
    assert (handler.rootpw.lock, handler.rootpw.password) == (True, "")

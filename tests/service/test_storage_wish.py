"""How an order says how its disks are used: our words, the dialect's, and what neither allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.models import CreateDevice, read
from service.api.problems import Invalid
from tests.service.api_world import World

MIRRORED: dict[str, Any] = {
    "disks": [
        {
            "device": f"/dev/sd{letter}",
            "wipeTable": True,
            "partitions": [
                {"label": "BIOS", "number": 1, "size": 4096},
                {"label": "ROOT", "number": 2, "size": 0},
            ],
        }
        for letter in "ab"
    ],
    "raid": [{"devices": ["/dev/sda2", "/dev/sdb2"], "level": "1", "name": "/dev/md/ROOT"}],
    "filesystems": [{"mount": {"device": "/dev/md/ROOT", "format": "ext4", "point": "/"}}],
}
ALONE: dict[str, Any] = {
    "disks": [{"device": "/dev/nvme0n1", "partitions": [{"label": "ROOT", "number": 1, "size": "0"}]}],
    "filesystems": [{"mount": {"device": "/dev/nvme0n1p1", "format": "ext4", "point": "/"}}],
}


async def ordered(world: World, **fields: object) -> dict[str, Any]:
    """The row of a device that was ordered like this, and what is shown of it."""
    await world.add_machines(1)
    answer = await world.order(**fields)
    assert answer.status == 201, answer.body
    row = await world.db.fetchrow("SELECT engine, storage, storage_passphrase FROM device")
    return dict(row) | {"shown": answer.body}


@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        pytest.param({}, {"raid": "none", "lvm": False, "disks": []}, id="nothing"),
        pytest.param(None, {"raid": "none", "lvm": False, "disks": []}, id="null"),
        pytest.param({"raid": 1, "lvm": True}, {"raid": "1", "lvm": True, "disks": []}, id="ours"),
        pytest.param(
            {"disks": [{"type": "nvme", "min_bytes": 5, "serial": "A 1"}]},
            {"raid": "none", "lvm": False, "disks": [{"type": "nvme", "min_bytes": 5, "serial": "A 1"}]},
            id="by-hint",
        ),
        pytest.param(
            MIRRORED,
            {"raid": "1", "lvm": False, "disks": [{"path": "/dev/sda"}, {"path": "/dev/sdb"}]},
            id="theirs-mirrored",
        ),
        pytest.param(ALONE, {"raid": "none", "lvm": False, "disks": [{"path": "/dev/nvme0n1"}]}, id="theirs-alone"),
    ],
)
async def test_what_is_wished_is_kept(world: World, storage: object, kept: object) -> None:
    found = await ordered(world, storage=storage)
    assert found["storage"] == kept
    assert found["shown"]["storage"] is None
    assert found["shown"]["disk_layout"] == {**found["storage"], "encrypted": False}
    assert found["shown"]["engine"] == "image"


async def test_a_passphrase_is_sealed_and_never_shown(world: World) -> None:
    found = await ordered(world, storage={"passphrase": "correct horse battery", "lvm": True}, engine="native")
    assert b"correct" not in found["storage_passphrase"]
    assert "correct horse" not in str(found["shown"])
    assert found["shown"]["disk_layout"]["encrypted"] is True
    assert found["shown"]["engine"] == found["engine"] == "native"


SWAP = {"label": "SWAP", "number": 1, "size": 4096}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"engine": "magic"}, "Engine is not valid: 'magic'; allowed for debian_12 are image, native"),
        ({"engine": "native", "operating_system": "ubuntu_16_04"}, "allowed for ubuntu_16_04 are image"),
        ({"engine": "image", "operating_system": "custom_ipxe", "userdata": "#!ipxe\n"}, "is not installed by us"),
        ({"storage": {"raid": "1"}, "operating_system": "custom_ipxe", "userdata": "#!ipxe\n"}, "allowed is none"),
        ({"storage": {"raid": "5"}}, "storage.raid is not valid: '5': input should be 'none', '1' or '10'"),
        ({"storage": {"lvm": "perhaps"}}, "storage.lvm is not valid: 'perhaps'"),
        ({"storage": {"swap": 1}}, "storage.swap is not valid"),
        ({"storage": "all"}, "Storage is not valid: 'all'"),
        ({"storage": {"passphrase": "short"}}, "storage.passphrase is not valid"),
        ({"storage": {"disks": [{"type": "tape"}]}}, "storage.disks.0.type is not valid: 'tape'"),
        ({"storage": {"disks": [{"path": "/etc/passwd"}]}}, "storage.disks.0.path is not valid: '/etc/passwd'"),
        ({"storage": {"disks": [{"min_bytes": -1}]}}, "storage.disks.0.min_bytes is not valid: -1"),
        ({"storage": {"disks": [{"min_bytes": True}]}}, "storage.disks.0.min_bytes is not valid: True is no number"),
        ({"storage": {"raid": "1", "disks": [{"path": "/dev/sda"}]}}, "storage.raid '1'"),
        ({"storage": {**ALONE, "filesystems": []}}, "/ is there 0 times; allowed is once"),
        ({"storage": {**ALONE, "lvm": []}}, "lvm is not possible; allowed are disks, filesystems, raid"),
        (
            {"storage": {**ALONE, "disks": [{**ALONE["disks"][0], "partitions": [SWAP, SWAP]}]}},
            "'SWAP' of /dev/nvme0n1 is not possible; allowed before the last one are BIOS, EFI, ESP",
        ),
        (
            {"storage": {**ALONE, "filesystems": [{"mount": {"device": "x", "format": "xfs", "point": "/"}}]}},
            "'xfs' at '/' is not possible; allowed are ext4 at / and vfat at /boot/efi",
        ),
        ({"storage": {**MIRRORED, "raid": [{"level": "5"}]}}, "raid.level '5' is not possible"),
        ({"storage": {**MIRRORED, "raid": []}}, "allowed is the last partition of one disk"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(world: World, fields: dict[str, object], said: str) -> None:
    await world.add_machines(1)
    answer = await world.order(**fields)
    assert answer.status == 422
    assert said in " ".join(answer.body["errors"])
    assert await world.db.fetchval("SELECT count(*) FROM device") == 0


async def test_what_the_installer_cannot_do_is_said_at_once(world: World) -> None:
    await world.add_machines(1)
    disks = [{"path": "/dev/sda"}, {"path": "/dev/sdb"}, {"path": "/dev/sdc"}]
    answer = await world.order(engine="native", storage={"raid": "10", "disks": disks})
    assert answer.status == 422
    assert answer.body["errors"][0].startswith("Native engine cannot do that: storage")


@pytest.mark.parametrize("slug", ["coreos_stable", "flatcar_stable"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"storage": {"raid": "1"}}, "storage.raid '1'"),
        ({"storage": {"lvm": True}}, "storage.lvm True"),
        ({"storage": {"passphrase": "correct horse"}}, "storage.passphrase"),
        ({"userdata": "#cloud-config\n{}"}, "userdata: '#cloud-config' is no Ignition"),
    ],
    ids=["RAID", "LVM", "encrypted", "cloud-config"],
)
async def test_what_an_image_that_ignition_configures_cannot_be_is_said_at_once(
    world: World, slug: str, fields: dict[str, object], said: str
) -> None:
    await world.add_machines(1)
    answer = await world.order(operating_system=slug, **fields)
    assert answer.status == 422
    assert answer.body["errors"][0].startswith(f"Image engine cannot do that: {said}")


async def test_a_reinstall_may_change_both(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order(engine="native", storage={"passphrase": "correct horse", "lvm": True})).body
    row = "SELECT engine, storage->>'raid' AS raid, storage_passphrase IS NOT NULL AS sealed FROM device"
    actions = f"/devices/{device['id']}/actions"

    async def reinstall(**fields: object) -> tuple[int, tuple[object, ...], object]:
        await world.db.execute("UPDATE device SET state = 'active'")
        await world.db.execute("UPDATE run SET finished_at = now(), state = 'done' WHERE finished_at IS NULL")
        answer = await world.call("POST", actions, {"type": "reinstall", **fields})
        return answer.status, tuple(await world.db.fetchrow(row)), answer.body

    assert (await reinstall())[:2] == (202, ("native", "none", True))
    span = await world.db.fetchval(
        "SELECT extract(epoch FROM deadline - created_at) FROM run ORDER BY created_at DESC LIMIT 1"
    )
    assert round(span) == 3000
    assert (await reinstall(engine="image", storage={"raid": "1"}))[:2] == (202, ("image", "1", False))
    status, kept, body = await reinstall(engine="native", operating_system="ubuntu_16_04")
    assert (status, kept) == (422, ("image", "1", False))
    assert "Engine is not valid" in str(body)


WORDS = [
    *("disks", "raid", "filesystems", "device", "devices", "level", "name", "mount", "format", "point", "partitions"),
    *("label", "number", "size", "wipeTable", "lvm", "passphrase", "path", "type"),
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
SAID = PLAIN | st.sampled_from(["/dev/sda", "/dev/sda1", "/", "ext4", "BIOS", "1", "10", "ssd"])
JSON = st.recursive(
    SAID,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=25,
)


@given(JSON)
def test_whatever_is_said_of_storage_is_taken_or_refused(said: object) -> None:
    try:
        wish = read(CreateDevice, {"storage": said}).storage
    except Invalid as refused:
        assert all("storage" in error.lower() for error in refused.errors)
        return
    assert wish is None or set(wish.kept()) == {"raid", "lvm", "disks"}

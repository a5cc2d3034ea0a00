"""A disk made twice of the same files is the same, whenever they were read and whenever they were written."""

from __future__ import annotations

import os
from pathlib import Path

from images.build import disk
from images.build.host import EPOCH
from tests.images.build.disks import require_disk_tools, run


def fill(tree: Path, names: list[str]) -> None:
    """Some files, links and folders, made in this order."""
    tree.mkdir()
    for name in names:
        path = tree / "folder" / name
        path.mkdir(parents=True)
        (path / "file").write_text(name)
        (path / "link").symlink_to("file")
    (tree / "bulk").write_bytes(bytes(96 << 20))  # else too small for a journal
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def test_the_same_files_give_the_same_disk(tmp_path: Path) -> None:
    require_disk_tools(dumpe2fs="e2fsprogs", debugfs="e2fsprogs")
    ids = disk.identity("some_1")
    roots = []
    for number in (1, 2):
        tree, image = tmp_path / f"tree{number}", tmp_path / f"disk{number}"
        fill(tree, [f"name-{place}" for place in range(400)])
        for path in tree.rglob("file"):
            path.read_text()
            path.chmod(0o644)
        with image.open("wb") as file:
            file.truncate(256 << 20)
        disk.make_root(tree, ids, image, 180)
        roots.append(image)
        run("e2fsck", "-fn", f"{image}?offset={disk.ROOT_FROM_MIB << 20}")
    assert roots[0].read_bytes() == roots[1].read_bytes()
    shown = run("debugfs", "-R", "stat /folder/name-7/file", f"{roots[0]}?offset={disk.ROOT_FROM_MIB << 20}").decode()
    for time in ("ctime", "atime", "mtime", "crtime"):
        assert f"{time}: {EPOCH:#010x}" in shown

"""Checks of the store's files: what has changed is found, and nobody gets it any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from images import store
from images.checking import check_due, checking, set_aside
from service.artefacts import Artefacts, NotBuilt
from tests.images.test_store import made

NEVER = 1e9


def flipped(path: Path) -> None:
    """Turn one bit and leave no other trace."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_right_files_stay_and_are_not_read_again(tmp_path: Path) -> None:
    release = store.publish(tmp_path, made(tmp_path, "one"))
    assert check_due(tmp_path, interval_s=NEVER) == []
    flipped(tmp_path / release.kernel.file)  # nothing tells that it has changed
    assert check_due(tmp_path, interval_s=NEVER) == []
    (found,) = [one for _ in release.files for one in check_due(tmp_path, interval_s=-1)]
    assert found.sha256 == release.kernel.sha256 != found.found
    assert found.bytes == release.kernel.bytes
    assert set_aside(tmp_path) == [found.path]


def test_a_file_that_was_written_to_is_found_at_the_next_look(tmp_path: Path) -> None:
    release = store.publish(tmp_path, made(tmp_path, "one"))
    check_due(tmp_path, interval_s=NEVER)
    path = tmp_path / release.initrd.file
    path.write_bytes(b"x" * release.initrd.bytes)
    assert [one.sha256 for one in check_due(tmp_path, interval_s=NEVER)] == [release.initrd.sha256]
    assert not path.exists()


def test_a_file_that_comes_wrong_is_found_at_the_first_look(tmp_path: Path) -> None:
    store.publish(tmp_path, made(tmp_path, "one"))
    (tmp_path / "sha256" / ("0" * 64)).write_text("not that")
    (tmp_path / "sha256" / "notes").write_text("no file of the store's")
    assert [one.sha256 for one in check_due(tmp_path, interval_s=NEVER)] == ["0" * 64]
    assert (tmp_path / "sha256" / "notes").exists()


def test_a_release_whose_file_was_moved_aside_is_out_of_service_until_it_is_back(tmp_path: Path) -> None:
    release = store.publish(tmp_path, made(tmp_path, "one"))
    images, content = Artefacts(tmp_path), (tmp_path / release.kernel.file).read_bytes()
    assert images.has_image("debian_12", release.id)
    (tmp_path / release.kernel.file).write_bytes(b"x" * release.kernel.bytes)
    check_due(tmp_path, interval_s=NEVER)
    with pytest.raises(NotBuilt, match="out of service"):
        images.image("debian_12")
    (tmp_path / ".again").write_bytes(content)
    store.put_file(tmp_path, tmp_path / ".again")
    assert check_due(tmp_path, interval_s=NEVER) == []
    assert images.has_image("debian_12", release.id)


@pytest.mark.parametrize("notes", ["", "[]", '{"x": 1}', '{"x": ["a", 1, 2, 3]}'], ids=["empty", "list", "one", "text"])
def test_lost_notes_cost_a_check_and_nothing_else(tmp_path: Path, notes: str) -> None:
    release = store.publish(tmp_path, made(tmp_path, "one"))
    check_due(tmp_path, interval_s=NEVER)
    flipped(tmp_path / release.kernel.file)
    (tmp_path / ".checked.json").write_text(notes)
    assert len(check_due(tmp_path, interval_s=NEVER)) == 1


def test_one_process_checks_at_a_time(tmp_path: Path) -> None:
    lines = ("import sys", "from pathlib import Path", "from images.checking import checking")
    code = "\n".join((*lines, "with checking(Path(sys.argv[1])) as mine: print(mine)"))
    with checking(tmp_path) as mine:
        assert mine
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert other.stdout == "False\n"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert other.stdout == "True\n"


def test_whoever_stops_does_not_wait_for_a_file_to_be_read(tmp_path: Path) -> None:
    store.publish(tmp_path, made(tmp_path, "one"))
    assert check_due(tmp_path, interval_s=NEVER, stopped=lambda: True) == []
    assert not (tmp_path / ".checked.json").exists()

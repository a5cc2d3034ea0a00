"""What of a folder is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pxe.tftp import files
from pxe.tftp.files import TooLarge, load_files


def test_files_have_their_folders_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "grub" / "x86_64-efi").mkdir(parents=True)
    (tmp_path / "grub" / "x86_64-efi" / "normal.mod").write_bytes(b"module")
    (tmp_path / "grub" / "grub.cfg").write_bytes(b"")
    (tmp_path / "undionly.kpxe").write_bytes(b"ipxe")
    assert load_files(tmp_path) == {
        "undionly.kpxe": b"ipxe",
        "grub/grub.cfg": b"",
        "grub/x86_64-efi/normal.mod": b"module",
    }


def test_links_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_bytes(b"file")
    (served / "outside").symlink_to(tmp_path / "secret" / "key")
    (served / "inside").symlink_to(served / "file")
    (served / "folder").symlink_to(tmp_path / "secret", target_is_directory=True)
    os.mkfifo(served / "pipe")
    assert load_files(served) == {"file": b"file"}
    (tmp_path / "way").symlink_to(served)
    assert load_files(tmp_path / "way") == {"file": b"file"}  # the folder itself may be reached by a link


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_files(tmp_path / "none")


def test_too_much_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 3 << 20)
    monkeypatch.setattr(files, "MOST_FILE_BYTES", 2 << 20)
    (tmp_path / "a").write_bytes(bytes(2 << 20))
    (tmp_path / "b").write_bytes(bytes(1 << 20))
    assert len(load_files(tmp_path)) == 2
    (tmp_path / "c").write_bytes(b"x")
    with pytest.raises(TooLarge, match="2 MiB in a file and 3 MiB in all"):
        load_files(tmp_path)
    (tmp_path / "c").unlink()
    (tmp_path / "a").write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(TooLarge, match="a: 2 MiB"):
        load_files(tmp_path)

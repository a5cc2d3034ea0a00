"""Labels that the agent has the new system's own setfiles write, with Debian's policy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from images.agent.selinux import relabel

SETFILES = "/usr/sbin/setfiles"
POLICY = "/etc/selinux/default/contexts"


@pytest.mark.skipif(os.geteuid() != 0, reason="labels are root's to write")
@pytest.mark.skipif(not Path(SETFILES).exists(), reason="needs the Debian package policycoreutils")
@pytest.mark.skipif(not Path(POLICY).exists(), reason="needs the Debian package selinux-policy-default")
def test_what_was_written_is_labelled_by_the_systems_own_policy(tmp_path: Path) -> None:
    listed = subprocess.run(["ldd", SETFILES], capture_output=True, text=True, check=True).stdout
    libraries = [word for word in listed.split() if word.startswith("/")]
    for path in (SETFILES, *libraries):
        copy = tmp_path / path[1:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "proc").mkdir()
    shutil.copytree(POLICY, tmp_path / POLICY[1:])
    (tmp_path / "etc/selinux/config").write_text("# a comment\nSELINUX=enforcing\nSELINUXTYPE=default\n")
    written = {
        "/opt/roundhouse/bin/phone-home": "bin_t",
        "/root/.ssh/authorized_keys": "ssh_home_t",
        "/etc/systemd/system/roundhouse-phone-home.service": "systemd_unit_t",
        "/etc/shadow": "shadow_t",
        "/etc/hostname": "net_conf_t",
    }
    for path in written:
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text("")
    (tmp_path / "root/.bashrc").write_text("there before")
    relabel(str(tmp_path), written)
    labels = {path: os.getxattr(tmp_path / path[1:], "security.selinux").decode().split(":")[2] for path in written}
    assert labels == written
    with pytest.raises(OSError, match="No data"):
        os.getxattr(tmp_path / "root/.bashrc", "security.selinux")
    assert b":ssh_home_t:" in os.getxattr(tmp_path / "root/.ssh", "security.selinux")


def test_a_system_without_selinux_is_left_alone(tmp_path: Path) -> None:
    relabel(str(tmp_path), ["/etc/hostname"])
    (tmp_path / "etc/selinux").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("SELINUX=disabled\nSELINUXTYPE=targeted\n")
    relabel(str(tmp_path), ["/etc/hostname"])
    with pytest.raises(OSError, match="No data"):
        os.getxattr(tmp_path / "etc/selinux/config", "security.selinux")

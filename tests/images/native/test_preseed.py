"""Debian's preseed files, judged by debconf, by the questions that its installer has, and by its own shell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from images.catalogue import load_catalogue
from images.native import CannotExpress, render
from images.native.contract import Rendered
from images.protocol import Wish
from tests.images.native import report
from tests.images.native.listening import listener
from tests.images.native.matrix import CLOUD, NETWORKS, SECRET, SOURCES, STORAGES, accepted, wish
from tests.images.native.questions import GUIDE, questions, wrong
from tests.images.native.sandbox import machine, run

SLUGS = ["debian_11", "debian_12", "debian_13"]
_ANSWER = re.compile(r"^(\S+) (\S+) (\S+)(?: (.*))?$")


def answers(rendered: Rendered) -> dict[str, tuple[str, str]]:
    """Type and value by question."""
    lines = [line for line in rendered.files["preseed.cfg"].splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        match = _ANSWER.fullmatch(line)
        assert match, line
        assert match[2] not in found, f"{match[2]} is answered twice"
        found[match[2]] = (match[3], match[4] or "")
    return found


def set_by_script(rendered: Rendered) -> set[str]:
    """The questions that the disks' script answers."""
    return set(re.findall(r"^ *debconf-set (\S+)", rendered.files["disks.sh"], re.MULTILINE))


@pytest.mark.skipif(not shutil.which("debconf-set-selections"), reason="needs the Debian package debconf")
@pytest.mark.skipif(not GUIDE.exists(), reason="needs the Debian package installation-guide-amd64")
@pytest.mark.parametrize("slug", SLUGS)
def test_debconf_and_the_installers_questions_take_every_order(slug: str, initrd: Path, tmp_path: Path) -> None:
    made, refused = accepted(load_catalogue().get(slug), CLOUD)
    known = questions(initrd)
    assert len(known) > 300
    everything = []
    for case, rendered in made:
        given = answers(rendered)
        complaints = wrong(known, ((name, type_) for name, (type_, _) in given.items()))
        complaints += [f"no question {name}" for name in set_by_script(rendered) - set(known)]
        assert not complaints, case.name
        assert not set_by_script(rendered) & set(given), "answered before and by the script"
        everything.append(rendered.files["preseed.cfg"])
    merged = tmp_path / "all.cfg"
    merged.write_text("\n".join(everything))
    # A database of its own: the machine's is locked while packages are installed.
    settings = "Config: config\nTemplates: templates\n\n"
    for name in ("config", "templates"):
        settings += f"Name: {name}\nDriver: File\nFilename: {tmp_path / name}.dat\n\n"
    (tmp_path / "debconf.conf").write_text(settings)
    argv = ["debconf-set-selections", "--checkonly", str(merged)]
    environment = {**os.environ, "DEBCONF_SYSTEMRC": str(tmp_path / "debconf.conf")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all("Debian's installer cannot do that; allowed:" in line or "with storage." in line for line in refused)
    assert len(made) >= 200
    report.tell(slug, len(made), len(refused), "debconf, questions of the real templates")


def test_a_wrong_name_or_type_is_noticed(initrd: Path) -> None:
    known = questions(initrd)
    assert wrong(known, [("apt-setup/security_path", "string")]) == ["no question apt-setup/security_path"]
    assert wrong(known, [("netcfg/get_hostname", "boolean")]) == ["netcfg/get_hostname is string, not boolean"]


STAND_IN = 'debconf-set() { printf \'%s=%s\\n\' "$1" "$2"; }\n'


def script_answers(tmp_path: Path, storage: str) -> dict[str, str]:
    """What the disks' script of an order answers, on the machine of the sandbox."""
    rendered = render(load_catalogue().get("debian_12"), wish(STORAGES[storage], NETWORKS["both"], ""), SOURCES)
    # dash takes no hyphen in a function's name; busybox, which the installer has, does.
    done = run(["bash"], STAND_IN + rendered.files["disks.sh"], machine(tmp_path))
    assert done.returncode == 0, done.stderr
    pairs = [line.partition("=") for line in done.stdout.splitlines()]
    return {name: value.replace(str(tmp_path), "") for name, _, value in pairs}


def test_the_script_answers_with_the_disks_that_were_found(tmp_path: Path) -> None:
    assert script_answers(tmp_path, "by serial") == {
        "partman-auto/disk": "/dev/sdb",
        "grub-installer/bootdev": "/dev/sdb",
    }


def test_a_pair_gets_a_recipe_with_the_right_names_of_partitions(tmp_path: Path) -> None:
    said = script_answers(tmp_path, "RAID 1 by serial")
    assert said["partman-auto/disk"] == said["grub-installer/bootdev"] == "/dev/nvme0n1 /dev/sdb"
    assert said["partman-auto-raid/recipe"] == "1 2 0 ext4 / /dev/nvme0n1p3#/dev/sdb3 ."


def test_a_passphrase_arrives_as_it_is(tmp_path: Path) -> None:
    said = script_answers(tmp_path, "LVM, encrypted")
    assert said["partman-crypto/passphrase"] == said["partman-crypto/passphrase-again"] == SECRET


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("encrypted", r"storage\.lvm False: .*; allowed: true"),
        ("RAID 1, LVM, encrypted", r"storage\.raid '1': .*; allowed: 'none'"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_is_allowed(storage: str, said: str) -> None:
    with pytest.raises(CannotExpress, match=said):
        render(load_catalogue().get("debian_12"), wish(STORAGES[storage], NETWORKS["both"], ""), SOURCES)


def test_scripts_are_read_by_the_installers_own_shell(initrd: Path) -> None:
    rendered = render(load_catalogue().get("debian_12"), wish(STORAGES["RAID 1"], NETWORKS["both"], ""), SOURCES)
    for name in ("early.sh", "disks.sh"):
        (initrd / name).write_text(rendered.files[name])
        argv = ["chroot", str(initrd), "/bin/busybox", "sh", "-n", f"/{name}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_a_step_that_fails_is_told_by_the_installers_own_programs(initrd: Path) -> None:
    ordered = wish(STORAGES["one disk"], NETWORKS["both"], "")
    syslog = initrd / "var/log/syslog"
    syslog.parent.mkdir(exist_ok=True)
    syslog.write_text("Nov 21 main-menu[303]: INFO: Menu item 'netcfg' selected\n")
    with listener([204]) as (url, heard):
        sources = replace(SOURCES, failed_url=f"{url}/failed")
        (initrd / "early.sh").write_text(
            render(load_catalogue().get("debian_12"), ordered, sources).files["early.sh"].replace("sleep 5", "sleep 1")
        )
        # A process group of its own, so that what stays in the background can be ended.
        argv = ["chroot", str(initrd), "/bin/busybox", "sh", "-c", "mkdir -p /tmp; sh /early.sh; exec sleep 60"]
        with subprocess.Popen(argv, env={"PATH": "/usr/bin:/bin:/sbin"}, start_new_session=True) as running:
            with syslog.open("a") as log:
                log.write("Nov 21 main-menu[303]: WARNING **: Configuring 'base' failed with error code 10\n")
            deadline = time.monotonic() + 30
            while not heard and time.monotonic() < deadline:
                time.sleep(0.1)
            os.killpg(running.pid, signal.SIGKILL)
    assert [path for path, _ in heard] == ["/failed"]
    assert b"Configuring 'base' failed with error code 10" in heard[0][1]
    hook = initrd / "usr/lib/finish-install.d/92roundhouse"
    assert hook.stat().st_mode & 0o111
    assert f"{SOURCES.base_url}/finish.sh" in hook.read_text()


def test_without_a_password_root_is_locked() -> None:
    ordered: Wish = {**wish(STORAGES["one disk"], NETWORKS["both"], ""), "password_hash": ""}
    given = answers(render(load_catalogue().get("debian_12"), ordered, SOURCES))
    assert given["passwd/root-password-crypted"] == ("password", "!")

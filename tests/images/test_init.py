"""Process 1 of the installer by busybox's shell, with recorders in place of the programs that need a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import installer
from images.build.host import which

INIT = Path(installer.__file__).with_name("init.sh")
MACS = {"cardone": "02:00:00:00:00:01", "cardtwo": "02:00:00:00:00:02"}
_APPLETS = ("sh", "cat", "find", "sort", "tr", "sleep", "env", "echo", "kill", "ip", "grep")
# What they are called with is written down. (The shell has some, `ip` and modprobe among them, built in.)
_RECORDERS = {
    "mount": 'echo "mount $*" >>/told',
    "udhcpc": 'echo "udhcpc $*" >>/told; while sleep 1; do :; done',
    # The client of DHCP starts in the background: the agent comes to its word only after that one has come to its own.
    "python3": """\
grep -q ip= /proc/cmdline || until grep -q ^udhcpc /told; do sleep 0.02; done
echo agent >>/told; read -r way rest </ways; echo "$rest" >/ways; exit "$way"
""",
    "kexec": 'echo "kexec $*" >>/told',
    "sync": "",
    "switch_root": 'echo "switch_root $*" >>/told',
    "reboot": 'echo "reboot $*" >>/told; exit 0',
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root folder with two cards and a driver to load."""
    busybox = which("busybox")
    if busybox is None:
        pytest.skip("needs the Debian package busybox-static")
    if os.geteuid() != 0:
        pytest.skip("needs root, to change the root folder")
    for folder in ("bin", "dev", "proc", "run", "mnt", "sys/class/nvme"):
        (tmp_path / folder).mkdir(parents=True)
    os.mknod(tmp_path / "dev/null", 0o020666, os.makedev(1, 3))
    shutil.copy(busybox, tmp_path / "bin/busybox")
    for applet in _APPLETS:
        (tmp_path / "bin" / applet).symlink_to("busybox")
    for name, script in _RECORDERS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin/udhcpc.sh").write_text('echo "script $1 $interface $ip $mask $router $dns" >>/told\n')
    (tmp_path / "proc/uptime").write_text("1.23 4.56\n")
    for number, (name, mac) in enumerate(MACS.items()):
        device = tmp_path / f"sys/devices/pci0/{number}"
        device.mkdir(parents=True)
        (device / "modalias").write_text(f"pci:v{number}\n")
        (tmp_path / "sys/class/net" / name / "device").mkdir(parents=True)
        (tmp_path / "sys/class/net" / name / "address").write_text(f"{mac}\n")
    (tmp_path / "sys/class/net/lo").mkdir()
    yield tmp_path


# In namespaces of its own: whatever it does to cards and mounts is done to nobody.
_AROUND = """
ip link add cardone type veth peer name cardtwo
chroot "$0" /bin/sh /init
ip -br link show
"""


def course(root: Path, cmdline: str, ways: str) -> tuple[list[str], str]:
    """Run it; what it called, and what it said, with the cards as it left them."""
    (root / "proc/cmdline").write_text(f"{cmdline}\n")
    (root / "ways").write_text(f"{ways}\n")
    shutil.copy(INIT, root / "init")
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _AROUND, root],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return (root / "told").read_text().splitlines(), done.stdout


def test_the_card_that_booted_is_the_one_whatever_its_place(root: Path) -> None:
    told, said = course(root, "quiet BOOTIF=01-02-00-00-00-00-02 console=ttyS0", "12")
    assert any(line.startswith("udhcpc -i cardtwo -f ") for line in told)
    assert told[-1] == "reboot -f"
    cards = [line.split()[:2] for line in said.splitlines() if line.startswith("card")]
    assert [(name.partition("@")[0], state) for name, state in cards] == [("cardtwo", "DOWN"), ("cardone", "DOWN")]
    assert "network card cardtwo (1.23 s after the kernel's start)" in said


def test_without_its_word_the_first_card_is_taken(root: Path) -> None:
    told, _ = course(root, "quiet", "12")
    assert any(line.startswith("udhcpc -i cardone -f ") for line in told)


def test_a_card_that_never_comes_is_waited_for_and_then_done_without(root: Path) -> None:
    told, _ = course(root, "BOOTIF=02:00:00:00:00:09", "12")
    assert any(line.startswith("udhcpc -i cardone -f ") for line in told)


def test_an_address_by_hand_takes_dhcps_place(root: Path) -> None:
    told, _ = course(root, "ip=10.64.0.25::10.64.0.24:255.255.255.254::eth0:off:9.9.9.9", "12")
    assert "script bound cardone 10.64.0.25 255.255.255.254 10.64.0.24 9.9.9.9" in told
    assert not any(line.startswith("udhcpc") for line in told)


@pytest.mark.parametrize(
    ("way", "ending"),
    [
        ("10", ["mount --move /sys /mnt/sys", "switch_root -c /dev/console /mnt /sbin/init"]),
        ("11", ["kexec --exec", "reboot -f"]),
        ("12", ["agent", "reboot -f"]),
    ],
    ids=["switch_root", "kexec", "reboot"],
)
def test_the_agents_word_says_how_it_ends(root: Path, way: str, ending: list[str]) -> None:
    told, _ = course(root, "", way)
    assert told[-2:] == ending


def test_an_agent_that_dies_is_started_again(root: Path) -> None:
    told, said = course(root, "", "1 12")
    assert told.count("agent") == 2
    assert "the agent ended with 1; again in 5 s" in said


def test_a_controller_that_is_not_ready_is_waited_for(root: Path) -> None:
    folder = root / "sys/class/nvme/nvme0"
    folder.mkdir()
    (folder / "state").write_text("connecting\n")
    waiter = subprocess.Popen(["sh", "-c", f"sleep 1; echo live >{folder / 'state'}; echo live >>{root / 'told'}"])
    told, _ = course(root, "", "12")
    waiter.wait()
    assert told.index("live") < told.index("agent")

"""Runs the distributions' own programs on network files: for real in a network namespace, or as far as they go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from images.agent.file import File
from images.protocol import NetworkStyle

NETWORKD = "/lib/systemd/systemd-networkd"

# The program that judges a style, and the Debian package that it comes from.
PROGRAMS: dict[NetworkStyle, dict[str, str]] = {
    "networkd": {NETWORKD: "systemd"},
    "netplan": {NETWORKD: "systemd", "/usr/sbin/netplan": "netplan.io"},
    "ifupdown": {"/sbin/ifup": "ifupdown", "/etc/network/if-pre-up.d/ifenslave": "ifenslave"},
    "networkmanager": {"/usr/sbin/NetworkManager": "network-manager", "/usr/bin/nmcli": "network-manager"},
}


def missing(style: NetworkStyle) -> str:
    """Why this machine cannot judge a style; empty when it can."""
    wanted = sorted({package for path, package in PROGRAMS[style].items() if not Path(path).exists()})
    return f"needs the Debian package {', '.join(wanted)}" if wanted else ""


def put(root: Path, files: list[File]) -> None:
    """Write the files below `root`."""
    for file in files:
        path = root / file.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        path.chmod(file.mode)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has: addresses with prefix length, and destination, gateway and source of each route that goes by
    a gateway."""

    addresses: set[str]
    routes: set[tuple[str, str, str]]


# Two cards, whose other ends are in the namespace, too, and of which the first is another's. /sys is read-only as a
# container's is, so that nobody waits for udev. Nothing outside the namespaces is seen or changed.
_NAMESPACE = """\
set -e
mount --make-rprivate /
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/network /run/etc
# An /etc of its own: NetworkManager rewrites the resolver's file.
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
ip link set lo up
ip link add other0 address 52:54:00:00:01:99 type veth peer name wire1
ip link set wire1 up
ip link add card0 address "$1" type veth peer name wire0
ip link set wire0 up
shift
exec "$@"
"""

# Runs until the wanted is seen, or for 20 s.
_WATCH = """
import json, subprocess, sys, time
command, wanted = json.loads(sys.argv[1]), json.loads(sys.argv[2])
def ip(*words):
    return json.loads(subprocess.run(["ip", "-j", *words], capture_output=True, check=True).stdout or "[]")
def seen():
    found = [address for link in ip("addr") for address in link["addr_info"] if address["scope"] == "global"]
    addresses = [f"{address['local']}/{address['prefixlen']}" for address in found]
    routes = [
        [six if route["dst"] == "default" else route["dst"], route["gateway"], route.get("prefsrc", "")]
        for family, six in (("-4", "0.0.0.0/0"), ("-6", "::/0"))
        for route in ip(family, "route") if "gateway" in route
    ]
    return [sorted(addresses), sorted(routes)]
daemon = subprocess.Popen(command, stdout=sys.stderr)
for _ in range(300):
    now = seen()
    if now == wanted:
        break
    time.sleep(0.2)
daemon.terminate()
daemon.wait()
print(json.dumps(now))
"""


def applied(root: Path, style: NetworkStyle, mac: str, wanted: Seen) -> tuple[Seen, str]:
    """What the style's program makes of the files below `root` where a card has that MAC, and what it said."""
    if style == "netplan":
        subprocess.run(["netplan", "generate", "--root-dir", root], check=True, capture_output=True, timeout=120)
        made = root / "etc/systemd/network"
        made.mkdir(parents=True)
        for file in (root / "run/systemd/network").iterdir():
            # A virtual card has no permanent address; on a real one it is the same as the address.
            (made / file.name).write_text(file.read_text().replace("PermanentMACAddress=", "MACAddress="))
    bind, command = {
        "networkd": ("etc/systemd/network", [NETWORKD]),
        "netplan": ("etc/systemd/network", [NETWORKD]),
        "ifupdown": ("etc/network/interfaces", ["ifup", "-a"]),
        # "initrd" is the way of running without D-Bus.
        "networkmanager": (
            "etc/NetworkManager",
            ["NetworkManager", "--no-daemon", "--configure-and-quit=initrd", "--log-level=WARN"],
        ),
    }[style]
    state = root / "state"
    state.mkdir()
    script = f'mount --bind "{root / bind}" "/{bind}"; [ ! -d /var/lib/NetworkManager ] || '
    script += f'mount --bind "{state}" /var/lib/NetworkManager; exec "$@"'
    expected = [sorted(wanted.addresses), sorted(map(list, wanted.routes))]
    watch = [sys.executable, "-c", _WATCH, json.dumps(command), json.dumps(expected)]
    argv = ["unshare", "-n", "-m", "sh", "-c", _NAMESPACE, "sh", mac, "sh", "-c", script, "sh", *watch]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    addresses, routes = json.loads(done.stdout)
    return Seen(set(addresses), {(to, by, source) for to, by, source in routes}), done.stderr


def parsed(root: Path, style: NetworkStyle) -> str:
    """What the style's own reader complains about; empty: nothing. For what needs a kernel with bonds, too."""
    if style == "netplan":
        argv = ["netplan", "generate", "--root-dir", str(root)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        return done.stderr
    if style == "ifupdown":
        script = "mount -t tmpfs tmpfs /run && mkdir /run/network && mount -t sysfs sysfs /sys"
        for number in range(1, 5):
            script += f" && ip link add card{number} address 52:54:00:00:01:0{number} type veth peer name wire{number}"
        script += f' && ifup --no-act -a -i "{root}/etc/network/interfaces"'
        argv = ["unshare", "-n", "-m", "sh", "-c", f"mount --make-rprivate / && {script}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        # The rest is what it would run.
        return "".join(line for line in done.stderr.splitlines(True) if "ifup:" in line) or "!" * done.returncode
    if style == "networkmanager":
        said = ""
        for path in sorted((root / "etc/NetworkManager/system-connections").iterdir()):
            argv = ["nmcli", "--offline", "connection", "modify", "connection.zone", ""]
            done = subprocess.run(
                argv, input=path.read_text(), capture_output=True, text=True, timeout=120, check=False
            )
            said += done.stderr + _lost(path.read_text(), done.stdout)
        return said
    return _networkd_says(root)


def _lost(before: str, after: str) -> str:
    """Lines that NetworkManager did not take over; it leaves out what is its default."""
    defaults = {"autoconnect=true", "[bond-port]", "[ipv4]", "[ipv6]", "method=disabled"}
    wanted = {line for line in before.splitlines() if line} - defaults
    return "".join(f"lost: {line}\n" for line in sorted(wanted - set(after.splitlines())))


def _networkd_says(root: Path) -> str:
    # Without a card there is nothing to set up, but all files are read, before the cards are looked for.
    script = f'mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount --bind "{root}/etc/systemd/network" '
    script += f"/etc/systemd/network && mount -t sysfs -o ro sysfs /sys && exec {NETWORKD}"
    argv = ["unshare", "-n", "-m", "sh", "-c", script]
    said = []
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as daemon:
        for line in daemon.stderr or ():
            said.append(line)
            if "Enumeration completed" in line:
                break
        daemon.terminate()
    # No kernel here makes bonds, and the folder of the service's state is systemd's to make.
    known = ("netdev could not be created: Operation not supported", "untime directory", "/run/systemd/netif")
    words = ("nknown", "gnoring", "nvalid", "ailed", "could not", "Could not", "conflict")
    lines = [line for line in said if any(word in line for word in words)]
    return "".join(line for line in lines if not any(word in line for word in known))


def may_make_namespaces() -> bool:
    """Whether this user may."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None

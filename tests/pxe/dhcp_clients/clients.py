"""The real clients: how each is started, and the script by which it sets its interface and says what it got."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.pxe.dhcp_clients.net import Net, stop

# One script for all: udhcpc says what happens in $1, dhclient in $reason; dhcpcd sets the interface by itself. The
# address stays where a client ends without giving it back.
_SCRIPT = """#!/bin/sh
what=${reason:-$1}
address=${new_ip_address:-$ip}
case $what in
PREINIT|deconfig|EXPIRE|FAIL|RELEASE) ip -4 address flush dev eth0;;
BOUND|RENEW|REBIND|REBOOT|bound|renew)
    if [ "$DHCP_CLIENT" != dhcpcd ]; then
        ip address replace "$address/31" dev eth0
        ip route replace default via "${router:-$new_routers}" onlink dev eth0
    fi;;
esac
routes=${staticroutes:-${new_rfc3442_classless_static_routes:-$new_classless_static_routes}}
echo "$what|$address|${subnet:-$new_subnet_mask}|${router:-$new_routers}|$routes" >> "$DHCP_RESULT"
"""
_DHCLIENT = """
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name-servers, host-name, rfc3442-classless-static-routes;
timeout 20; retry 3; reboot 5; initial-interval 1; backoff-cutoff 1;
"""
_NETWORKD = """[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
NETWORKD = "/lib/systemd/systemd-networkd"


@dataclass
class Event:
    """What a client told its script."""

    what: str
    address: str
    mask: str
    router: str
    routes: str


class Client:
    """A client on `eth0` of a namespace, with its state in a folder of its own."""

    def __init__(self, made: Net, folder: Path, kind: str, namespace: str = "host") -> None:
        self.kind = kind
        self._net, self._folder, self._namespace = made, folder, namespace
        self._result = folder / "result"
        self._env = {"DHCP_RESULT": str(self._result), "DHCP_CLIENT": kind}
        self._program: subprocess.Popen[bytes] | None = None
        self._script = folder / "script"
        self._script.write_text(_SCRIPT)
        self._script.chmod(0o755)
        (folder / "dhclient.conf").write_text(_DHCLIENT)
        (folder / "10-eth0.network").write_text(_NETWORKD)

    def refuse(self, server: IPv4Address) -> None:
        """Let dhclient take no offer that comes from that address."""
        (self._folder / "dhclient.conf").write_text(f"{_DHCLIENT}reject {server};\n")

    def start(self) -> None:
        """Start it; a client that was started before goes by the lease that it has kept, if it keeps one."""
        self._program = self._net.start(self._namespace, *self._words(), env=self._env)

    def events(self, *kinds: str) -> list[Event]:
        """What the script heard, of these kinds (all without one)."""
        lines = self._result.read_text().splitlines() if self._result.exists() else []
        every = [Event(*line.split("|")) for line in lines]
        return [event for event in every if not kinds or event.what in kinds]

    def has_kept_its_lease(self) -> bool:
        """True as soon as dhclient or dhcpcd would find it after a restart."""
        files = (self._folder / "leases", *self._folder.glob("dhcpcd/*.lease"))
        return any(file.exists() and file.stat().st_size for file in files)

    def kill(self) -> None:
        """End it at once, so that nothing is given back."""
        assert self._program is not None
        stop(self._program, signal.SIGKILL)

    def release(self) -> None:
        """Let it give its address back."""
        assert self._program is not None
        if self.kind == "dhclient":
            self.kill()
            self._net.start(self._namespace, *self._words(), "-r", env=self._env).wait(60)
        else:
            stop(self._program, signal.SIGALRM if self.kind == "dhcpcd" else signal.SIGTERM)

    def _words(self) -> list[str]:
        folder = self._folder
        match self.kind:
            case "udhcpc" | "udhcpc -a":
                words = ["busybox", *self.kind.split(), "-f", "-R", "-i", "eth0", "-O", "staticroutes"]
                return [*words, "-s", str(self._script)]
            case "dhclient":
                files = ["-cf", f"{folder}/dhclient.conf", "-lf", f"{folder}/leases", "-pf", f"{folder}/pid"]
                told = [word for name, value in self._env.items() for word in ("-e", f"{name}={value}")]
                return ["dhclient", "-4", "-d", *told, "-sf", str(self._script), *files, "eth0"]
            case "dhcpcd":
                # Its folders are fixed, so it gets a view of the files of its own.
                view = (
                    f"mount -t tmpfs t /run && mkdir -p {folder}/dhcpcd && mount --bind {folder}/dhcpcd /var/lib/dhcpcd"
                )
                command = f"dhcpcd -4 -B -p --noarp -f /dev/null -c {self._script} "
                command += "".join(f"-e {name}={value} " for name, value in self._env.items())
                command += "".join(f"-o {name} " for name in ("subnet_mask", "routers", "classless_static_routes"))
                return ["unshare", "-m", "sh", "-c", f"{view} && exec {command} eth0"]
            case _:
                # Without udev no interface counts as ready, unless /sys cannot be written.
                view = f"""
                    mount -t tmpfs t /run/systemd && mkdir -p /run/systemd/netif /etc/systemd/network &&
                    chown systemd-network /run/systemd/netif && mount -t tmpfs t /etc/systemd/network &&
                    cp {folder}/10-eth0.network /etc/systemd/network && mount -o remount,bind,ro /sys
                """
                return ["unshare", "-m", "sh", "-c", f"{view.strip()} && exec {NETWORKD}"]


def missing(kind: str) -> str | None:
    """The Debian package that a client needs and this host lacks."""
    package, there = {
        "udhcpc": ("busybox", shutil.which("busybox")),
        "udhcpc -a": ("busybox", shutil.which("busybox")),
        "dhclient": ("isc-dhcp-client", shutil.which("dhclient")),
        "dhcpcd": ("dhcpcd5", shutil.which("dhcpcd")),
        "networkd": ("systemd", os.access(NETWORKD, os.X_OK)),
    }[kind]
    return None if there else package

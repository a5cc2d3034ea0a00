"""Command lines of real clients; each configures eth0 of its namespace and leaves no trace outside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# A mount namespace of its own hides what a client would read and write in the machine's own folders.
_HIDDEN = "mount -t tmpfs t /run && "
# Debian's script of dhclient rewrites /etc/resolv.conf.
_OWN_ETC = 'mount -t tmpfs t /mnt && cp -a /etc/. /mnt && mount --bind /mnt /etc && exec "$0" "$@"'


def dhclient(folder: Path) -> list[str]:
    """Keeps its leases in the folder, so that a second start confirms them."""
    files = ["-lf", str(folder / "leases"), "-pf", str(folder / "dhclient.pid")]
    return [*_shell(_OWN_ETC), "dhclient", "-6", "-d", "-v", *files, "eth0"]


def dhcpcd(folder: Path) -> list[str]:
    """Asks without waiting for a router."""
    configuration = folder / "dhcpcd.conf"
    configuration.write_text("ipv6only\nnoipv6rs\nia_na 1\noption dhcp6_name_servers\nnohook resolv.conf\n")
    start = f"exec dhcpcd -6 -B -d -f {configuration} eth0"
    return _shell(f"{_HIDDEN} mount -t tmpfs t /var/lib/dhcpcd && {start}")


def dhcp6c(folder: Path) -> list[str]:
    """The WIDE client; it asks for a rapid commit, and its identifier stands in a folder of the machine's."""
    configuration = folder / "dhcp6c.conf"
    configuration.write_text(
        "interface eth0 { send ia-na 0; send rapid-commit; request domain-name-servers; };\nid-assoc na 0 { };\n"
    )
    start = f"exec dhcp6c -f -D -c {configuration} -p {folder}/dhcp6c.pid eth0"
    return _shell(f"mount -t tmpfs t /var/lib/dhcpv6 && {start}")


def networkd(_: Path) -> list[str]:
    """Waits for a router's word (M flag). It runs without udev, whose word about the interface is put there."""
    network = r"[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n"
    return _shell(
        f"{_HIDDEN} mkdir -p /run/udev/data /run/systemd/network /run/systemd/netif && "
        f"printf '{network}' >/run/systemd/network/10.network && "
        "echo I:1 >/run/udev/data/n$(cat /sys/class/net/eth0/ifindex) && "
        "chmod -R a+rX /run/systemd && chown -R systemd-network /run/systemd/netif && "
        "SYSTEMD_LOG_LEVEL=debug exec /usr/lib/systemd/systemd-networkd"
    )


def _shell(script: str) -> list[str]:
    return ["unshare", "-m", "sh", "-c", script]


CLIENTS: dict[str, Callable[[Path], list[str]]] = {
    "dhclient": dhclient,
    "dhcpcd": dhcpcd,
    "dhcp6c": dhcp6c,
    "networkd": networkd,
}

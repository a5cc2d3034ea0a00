"""The script that makes a freshly installed system this order's own, run in it before its first boot.

It writes what the image engine's agent writes, so that a system is the same whichever way it was installed. Everything
that comes from an order stands in it as base64, so that no quoting matters.
"""

from __future__ import annotations

import base64
import shlex

from images.agent import configure, phone_home
from images.agent.file import File
from images.catalogue import System
from images.native.contract import CannotExpress, Sources
from images.native.templates import template
from images.protocol import Wish

# A system that was installed here has one of its own, by which its boot entries are named.
_OWN = frozenset({"/etc/machine-id"})

# What the installer itself has left of its network, and the program that is to read ours. Words are for the shell.
_STYLES = {
    "networkd": (
        "/etc/network/interfaces.d/* /etc/netplan/*",
        "systemctl enable systemd-networkd.service systemd-networkd-wait-online.service",
    ),
    "netplan": ("/etc/netplan/*", ""),
    "ifupdown": ("/etc/network/interfaces.d/* /etc/netplan/*", ""),
    "networkmanager": (
        "/etc/NetworkManager/system-connections/* /etc/sysconfig/network-scripts/ifcfg-[!l]*",
        "systemctl enable NetworkManager.service",
    ),
}


def encoded(text: str) -> str:
    """Text as one word of base64."""
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def system_files(system: System, wish: Wish) -> list[File]:
    """The files of the installed system. Raises CannotExpress, naming the field."""
    try:
        return configure.files(wish, system.default_user, system.network)
    except ValueError as err:
        raise CannotExpress(f"network: {err}") from err


def script(system: System, wish: Wish, sources: Sources) -> str:
    """Bash, run as root with the new system's root as `/`. It ends with 0 after `installed_url` was told of it."""
    leftovers, reader = _STYLES[system.network]
    kept = [file for file in system_files(system, wish) if file.path not in _OWN]
    return template("finish.sh.j2").render(
        leftovers=leftovers,
        reader=reader,
        interfaces=system.network == "networkd",
        files=[
            (f"{file.mode:o}", file.owner or "root", shlex.quote(file.path), encoded(file.text))
            for file in kept
            if not file.link
        ],
        links=[(shlex.quote(file.link), shlex.quote(file.path)) for file in kept if file.link],
        user=shlex.quote(system.default_user),
        password=encoded(wish["password_hash"] or "*"),
        unit=phone_home.UNIT_NAME,
        call=phone_home.caller(sources.installed_url, "POST", "text/plain"),
    )

"""Flatcar Container Linux: its live system gets one Ignition configuration, which installs another."""

from __future__ import annotations

import shlex

from images.catalogue import System
from images.native import live_install
from images.native.checks import refuse
from images.native.contract import Rendered, Sources
from images.protocol import Wish

_INSTALLER = "Flatcar's installer"


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """installer.ign for the live system. Raises CannotExpress."""
    storage = wish["storage"]
    if storage["raid"] != "none":
        # It boots from the one disk that its image was written to.
        raise refuse("storage.raid", storage["raid"], _INSTALLER, "'none'")
    if storage["lvm"]:
        raise refuse("storage.lvm", True, _INSTALLER, "false")
    if storage["passphrase"]:
        raise refuse("storage.passphrase", "…", _INSTALLER, "none")
    target = live_install.system_config(system, wish, {})
    proxy = f"http_proxy={shlex.quote(sources.proxy)} " if sources.proxy else ""
    command = f'{proxy}flatcar-install -d "$disk0" -i {live_install.FILLED} -C {system.version}'
    command += f" -V current -b {shlex.quote(sources.mirror)}"
    files = {"installer.ign": live_install.installer_config(wish, sources, target, command, [])}
    arguments = ["flatcar.first_boot=1", f"ignition.config.url={sources.base_url}/installer.ign"]
    return Rendered(files, " ".join(arguments))

"""Flatcar Container Linux: its live system gets one Ignition configuration, which installs another."""

from __future__ import annotations

import shlex

from images.catalogue import System
from images.native import live_install
from images.native.checks import one_plain_disk
from images.native.contract import Rendered, Sources
from images.protocol import Wish

_INSTALLER = "Flatcar's installer"


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """installer.ign for the live system. Raises CannotExpress."""
    one_plain_disk(wish["storage"], _INSTALLER)  # it boots from the one that its image was written to
    target = live_install.target_config(system, wish)
    proxy = f"http_proxy={shlex.quote(sources.proxy)} " if sources.proxy else ""
    command = f'{proxy}flatcar-install -d "$disk0" -i {live_install.FILLED} -C {system.version}'
    command += f" -V current -b {shlex.quote(sources.mirror)}"
    files = {"installer.ign": live_install.installer_config(wish, sources, target, command, [])}
    arguments = ["flatcar.first_boot=1", f"ignition.config.url={sources.base_url}/installer.ign"]
    return Rendered(files, " ".join(arguments))

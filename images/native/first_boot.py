"""What an image is told at its first boot where nothing but Ignition configures it."""

from __future__ import annotations

from images.catalogue import System
from images.native.checks import one_plain_disk
from images.native.live_install import system_config
from images.protocol import Wish


def first_boot(system: System, wish: Wish) -> str:
    """Ignition's whole configuration but for the host key, which the machine makes; empty for all other systems.

    Raises CannotExpress, naming field and allowed values.
    """
    if not system.ignited:
        return ""
    one_plain_disk(wish["storage"], f"an image of {system.name}")
    return system_config(system, wish)

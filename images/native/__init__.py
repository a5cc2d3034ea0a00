"""The native engine: what a distribution's own installer is told. Pure: from an order to files and kernel arguments."""

from __future__ import annotations

from collections.abc import Callable

from images.catalogue import System
from images.native import autoinstall, coreos, flatcar, kickstart, preseed
from images.native.checks import check
from images.native.contract import CannotExpress, Rendered, Sources
from images.protocol import Wish

__all__ = ["CannotExpress", "Rendered", "Sources", "render"]

_INSTALLERS: dict[str, Callable[[System, Wish, Sources], Rendered]] = {
    "debian": preseed.render,
    "ubuntu": autoinstall.render,
    "centos": kickstart.render,
    "coreos": coreos.render,
    "flatcar": flatcar.render,
}


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """What the system's own installer is told, so that it asks nothing and makes what is wished.

    Raises CannotExpress for what it cannot do, naming field and allowed values.
    """
    if "native" not in system.engines:
        raise CannotExpress(f"engine: {system.slug} has no native installer; allowed are {', '.join(system.engines)}")
    check(wish)
    return _INSTALLERS[system.distro](system, wish, sources)

"""A process's parts for a test of the engine."""

from __future__ import annotations

from random import Random

from images.catalogue import load_catalogue
from service.artefacts import Artefacts
from service.clock import Jitter, WallClock
from service.parts import Parts
from service.prove import see_host_key
from service.secrets import load_keys
from service.settings import Settings


def make_parts(settings: Settings) -> Parts:
    """The real parts; nothing is opened until a step uses it."""
    return Parts(
        settings=settings,
        clock=WallClock(),
        jitter=Jitter(Random(1)),
        catalogue=load_catalogue(),
        images=Artefacts(settings.state_dir / "images"),
        boot_url="http://127.0.0.1:8081",
        boot_url6=None,
        key=load_keys(settings.state_dir),
        see_host_key=see_host_key,
    )

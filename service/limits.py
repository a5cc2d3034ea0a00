"""What an order may take where nothing was measured yet: by stage, as the catalogue and the settings allow it."""

from __future__ import annotations

from images.catalogue import Catalogue
from service.forecast import Took
from service.intents import order_limit
from service.settings import Settings
from service.workflows.install import engine_for


def limits_of(catalogue: Catalogue, settings: Settings, slug: str | None, engine: str | None) -> Took:
    """Seconds from the machine's being chosen until its device is active, and of each stage that takes time. The whole
    is the order's limit where the stages add up to more; without a system it is all that is known.
    """
    if slug is None or slug not in catalogue:
        limit_s = order_limit(settings, native=False).total_seconds()
        return Took(limit_s, limit_s, 0)
    system, native = catalogue.get(slug), engine_for(catalogue, slug, engine) == "native"
    steps = {
        **(
            {"native_install": float(settings.native_limit_s)}
            if native
            else {"install": float(system.install_budget_s)}
        ),
        "await_phone_home": float(system.first_boot_budget_s),
        "prove": float(settings.prove_limit_s),
    }
    whole_s = min(sum(steps.values()), order_limit(settings, native=native).total_seconds())
    return Took(whole_s, whole_s, 0, steps)

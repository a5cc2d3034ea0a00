"""What operators may look at: machines, leaves, runs, prefixes and all devices."""

from __future__ import annotations

from service.api.call import Route

ADMIN_ROUTES: tuple[Route, ...] = ()

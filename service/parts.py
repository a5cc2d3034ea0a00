"""What a step, a handler or an actor may use: everything that reaches outside, handed over rather than looked up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from aiohttp import BaseConnector, TCPConnector

from images.catalogue import Catalogue
from service.artefacts import Artefacts
from service.clock import Clock, Jitter
from service.forecast import Lately
from service.secrets import KeyRing
from service.settings import Settings

OpenUpstream = Callable[[], BaseConnector]  # connections to package mirrors
SeeHostKey = Callable[[str, int], Awaitable[str | None]]  # address and port → the ed25519 key shown, or None


@dataclass(frozen=True, slots=True)
class Parts:
    """One process's share of the outside world."""

    settings: Settings
    clock: Clock
    jitter: Jitter
    catalogue: Catalogue
    images: Artefacts
    boot_url: str  # where machines find boot files, images, metadata and the agent's calls
    boot_url6: str | None  # the same over IPv6, where that is served
    key: KeyRing  # seals BMC and switch secrets, signs boot tokens and erase certificates
    see_host_key: SeeHostKey
    upstream: OpenUpstream = TCPConnector
    lately: Lately = field(default_factory=Lately)

    def boot_url_for(self, client: IPv4Address | IPv6Address) -> str:
        """The boot URL that a client with that address can reach."""
        return self.boot_url6 if client.version == 6 and self.boot_url6 is not None else self.boot_url

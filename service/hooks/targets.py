"""Where customers' webhooks may lead: to the public Internet, and to networks that the operator names.

A name is looked at when it is connected to, with the very addresses that the connection then uses: what it meant when
the webhook was made says nothing of what it means later.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

Network = IPv4Network | IPv6Network

_LONGEST = 2000
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


class BadTarget(ValueError):
    """The target is not allowed; the text says what is."""


class NotAllowed(OSError):
    """A name leads to an address that is not allowed."""


def networks_of(setting: str) -> tuple[Network, ...]:
    """The networks that a setting lists, separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in setting.split(",") if part.strip())


def allowed(text: str, networks: Sequence[Network]) -> bool:
    """Whether a customer's webhook may reach the address."""
    address = ip_address(text.partition("%")[0])
    if any(address in network for network in networks):
        return True
    inner = _inner(address)
    if inner is not None:
        return address.is_global and inner.is_global if address in _NAT64 else inner.is_global
    return address.is_global and not address.is_multicast


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for (RFC 4291 §2.5.5.2, RFC 3056, RFC 4380, RFC 6052)."""
    if not isinstance(address, IPv6Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def check_url(url: str, networks: Sequence[Network] | None) -> str:
    """The URL of a webhook; `networks` None: of an operator's, which may lead anywhere. Raises BadTarget."""
    if len(url) > _LONGEST or not url.isprintable() or " " in url:
        raise BadTarget(f"it must be printable, without blanks, {_LONGEST} characters at most")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise BadTarget(str(err)) from None
    if parts.scheme not in ("https", "http") or not host:
        raise BadTarget("it must be an https or http address with a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadTarget("it must have neither a user nor a fragment; deliveries are signed instead")
    if port == 0:
        raise BadTarget("port 0 is none")
    if networks is not None and (literal := _literal(host)) is not None and not allowed(literal, networks):
        raise BadTarget(f"{host} is no public address")
    return url


def _literal(host: str) -> str | None:
    """The address that a host is by itself, in any of the ways in which a resolver reads one: 127.1, 0x7f000001."""
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except OSError:
        return "127.0.0.1" if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost") else None


class PublicResolver(AbstractResolver):
    """Resolves names to the addresses that are allowed. Raises NotAllowed when there are others only."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises NotAllowed where none of them may be spoken to."""
        found = await self._names.resolve(host, port, family)
        good = [one for one in found if allowed(one["host"], self._networks)]
        if not good:
            raise NotAllowed(f"{host} has no public address")
        return good

    async def close(self) -> None:
        """Nothing is open."""
        await self._names.close()

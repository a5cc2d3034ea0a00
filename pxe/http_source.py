"""Whom a request comes from: the address that identifies a machine, so a machine must not be able to choose it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from aiohttp import web

# The addresses of the proxies that stand before this service. Each tells by X-Forwarded-For whom it speaks for; from
# anybody else that header means nothing. An application without this key has no proxy.
TRUSTED_PROXIES = web.AppKey("TRUSTED_PROXIES", frozenset[IPv4Address | IPv6Address])

_FORWARDED = "X-Forwarded-For"


def source_address(request: web.Request) -> IPv4Address | IPv6Address | None:
    """The address that the request came from; one of IPv4 stays one where the socket listens on IPv6 for both.

    None where a trusted proxy does not name exactly one address: a list would be one that the client has begun.
    """
    if not comes_by_proxy(request):
        return _peer(request)
    named = request.headers.getall(_FORWARDED, [])
    return _address(named[0].strip()) if len(named) == 1 else None


def comes_by_proxy(request: web.Request) -> bool:
    """Whether a trusted proxy has sent the request."""
    return _peer(request) in request.config_dict.get(TRUSTED_PROXIES, frozenset())


def _peer(request: web.Request) -> IPv4Address | IPv6Address | None:
    return _address(request.remote or "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address

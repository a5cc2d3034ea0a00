"""The IPv6 addresses of this host's interfaces, as Linux tells them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

# The thread's own view: a thread may be in another network namespace than its process.
_ADDRESSES = Path("/proc/thread-self/net/if_inet6")
_GLOBAL, _LINK_LOCAL = 0x00, 0x20
_NOT_OURS_YET = 0x40 | 0x08  # linux/if_addr.h: tentative, or somebody else has it


def global_address(interface: int) -> IPv6Address | None:
    """The lowest global address on the interface of that index, None where it has none."""
    return min(_addresses(interface, _GLOBAL), default=None)


def link_local_address(interface: int) -> IPv6Address | None:
    """The link-local address of the interface of that index, None where it has none."""
    return min(_addresses(interface, _LINK_LOCAL), default=None)


def _addresses(interface: int, scope: int) -> Iterator[IPv6Address]:
    """Each line: address, index, prefix length, scope and flags in hexadecimal, and the interface's name."""
    for line in _ADDRESSES.read_text("ascii").splitlines():
        address, index, _, found, flags, _ = line.split()
        if int(index, 16) == interface and int(found, 16) == scope and not int(flags, 16) & _NOT_OURS_YET:
            yield IPv6Address(bytes.fromhex(address))

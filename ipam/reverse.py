"""Reverse DNS: which zones the address space has, what addresses are called, and zone files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TypeAlias

import dns.name

from ipam.errors import IpamError
from ipam.space import Network, inside

Address: TypeAlias = IPv4Address | IPv6Address

TTL_S = 3600
# Of zone files: how often a secondary looks, tries again, gives up, and how long "no such name" is believed.
_REFRESH_S, _RETRY_S, _EXPIRE_S, _NEGATIVE_S = 7200, 900, 1209600, 3600

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123 §2.1
_FIELD = re.compile(r"\{(\w*)\}")
_FIELDS = ("hostname", "address", "facility", "device")


class BadName(IpamError):
    """The name is none that an address can have."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A reverse zone, whose name is without the last dot, and the addresses whose names it holds."""

    name: str
    network: Network

    @property
    def classless(self) -> bool:
        """Whether the zone is smaller than an octet's border (RFC 2317)."""
        return self.network.version == 4 and self.network.prefixlen > 24

    def label_of(self, address: Address) -> str:
        """The address's name inside the zone."""
        if self.classless:
            return str(address.packed[-1])
        return address.reverse_pointer.removesuffix(f".{self.name}")

    @property
    def delegation(self) -> str | None:
        """What the parent zone needs for a classless zone beside its NS records (RFC 2317 §4)."""
        if not self.classless:
            return None
        first, last = self.network[0].packed[-1], self.network[-1].packed[-1]
        return f"$GENERATE {first}-{last} $ CNAME $.{self.name}."


def zones_of(prefix: Network) -> list[Zone]:
    """The zones of a prefix: cut at octets, or at nibbles for IPv6; of less than an octet, one by RFC 2317.

    A prefix between two borders has several. RFC 2317 §4 advises to take a hyphen where its examples have a slash.
    """
    if isinstance(prefix, IPv4Network) and prefix.prefixlen > 24:
        *octets, last = str(prefix.network_address).split(".")
        return [Zone(f"{last}-{prefix.prefixlen}.{'.'.join(reversed(octets))}.in-addr.arpa", prefix)]
    step = 8 if prefix.version == 4 else 4
    border = max(-(-prefix.prefixlen // step), 1)
    return [Zone(_name(network, border), network) for network in prefix.subnets(new_prefix=border * step)]


def _name(network: Network, labels: int) -> str:
    parts = network.network_address.reverse_pointer.split(".")
    return ".".join(parts[len(parts) - 2 - labels :])


def zone_named(zones: Iterable[Zone], name: str) -> Zone | None:
    """The zone of that name, with or without the last dot, in any case."""
    return next((zone for zone in zones if zone.name == name.rstrip(".").lower()), None)


def zone_around(zones: Iterable[Zone], block: Network) -> Zone | None:
    """The zone that holds the names of a block's addresses."""
    return next((zone for zone in zones if inside(block, zone.network)), None)


def host_name(text: str) -> str:
    """A full name of a host, in lower case and without the last dot. Raises BadName, which says what is wrong."""
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadName(f"{text[:80]!r} must be labels of letters, digits and inner hyphens, 63 characters at most")
    if len(labels) < 2 or labels[-1].isdecimal():
        raise BadName(f"{text[:80]!r} must be a full name, with its domain")
    return name


def check_template(template: str) -> None:
    """Raises BadName for a template with a field that there is not."""
    for field in _FIELD.findall(template):
        if field not in _FIELDS:
            allowed = ", ".join(f"{{{name}}}" for name in _FIELDS)
            raise BadName(f"{template!r} has a field {{{field}}}; allowed are {allowed}")


def default_name(template: str, address: Address, *, hostname: str, facility: str, device: str) -> str | None:
    """The name by the template; None where that makes no full name.

    `{address}` is 203-0-113-7; of IPv6 with all digits, for a label must not begin with a hyphen.
    """
    written = address.exploded if address.version == 6 else str(address)
    values: Mapping[str, str] = {
        "hostname": hostname,
        "address": re.sub(r"[.:]", "-", written),
        "facility": facility,
        "device": device,
    }
    try:
        return host_name(_FIELD.sub(lambda match: values[match[1]], template))
    except BadName:
        return None


def mailbox_name(email: str) -> dns.name.Name:
    """A mailbox as a name, as an SOA record has it (RFC 1035 §8). Raises BadName."""
    local, at, domain = email.partition("@")
    if not (local and at):
        raise BadName(f"{email!r} is no e-mail address")
    return dns.name.Name((local.encode(), *dns.name.from_text(host_name(domain)).labels))


def zone_text(
    zone: Zone, names: Iterable[tuple[Address, str]], *, nameservers: Sequence[str], hostmaster: str, serial: int
) -> str:
    """A zone file (RFC 1035 §5; `$TTL` RFC 2308 §4). Raises BadName where a setting is no name."""
    if not nameservers:
        raise BadName("a zone has name servers: none are set")
    servers = [f"{host_name(server)}." for server in nameservers]
    times = f"{_REFRESH_S} {_RETRY_S} {_EXPIRE_S} {_NEGATIVE_S}"
    lines = [
        f"$ORIGIN {zone.name}.",
        f"$TTL {TTL_S}",
        f"@ IN SOA {servers[0]} {mailbox_name(hostmaster).to_text()} {serial} {times}",
        *(f"@ IN NS {server}" for server in servers),
        # Names are host names and labels numbers: nothing in them needs to be escaped.
        *(f"{zone.label_of(address)} IN PTR {name}." for address, name in names),
    ]
    return "\n".join(lines) + "\n"

"""What a new leaf loads when it starts for the first time (ZTP): its whole configuration, in Junos' text form. Pure.

It is enough to be reached and driven from then on, and all of ours that needs no secret: sessions with hosts, which
have passwords, come over NETCONF. The management interface is in an instance of its own (Junos 17.3R1 and later): a
default route there must not carry what hosts send.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NoBase64
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from netconf.curly import text
from netconf.desired import Leaf
from netconf.render import configuration
from netconf.tree import Element, add, named, path

Address = IPv4Address | IPv6Address

_INSTANCE = "mgmt_junos"  # Junos knows no other
_CLASS = "roundhouse"
# To read and change what is ours, secrets and all; to go back to what ran before; to end sessions of our own.
_PERMISSIONS = (
    "configure",
    "firewall-control",
    "interface-control",
    "maintenance",
    "rollback",
    "routing-control",
    "secret-control",
    "view",
    "view-configuration",
)
# What `maintenance` would let through besides: a shell, other machines, software and power.
_DENIED = "^(file|op|request|scp|ssh|start|telnet) .*"
_CONNECTIONS, _CONNECTIONS_A_MINUTE = 8, 60
_ALIVE_S, _ALIVE_MISSED = 10, 3

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HASH = re.compile(r"\$[56]\$(rounds=\d{4,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}")
_INTERFACES = ("em0", "fxp0", "me0", "vme")
_KEY_TYPES = {
    "ssh-ed25519": "ssh-ed25519",
    "ssh-rsa": "ssh-rsa",
    **dict.fromkeys((f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)), "ssh-ecdsa"),
}


class BadValue(ValueError):
    """A value that the leaf would not take, or that would shut everybody out; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Login:
    """How the leaf is driven, and the password of its root; passwords as crypt(3) hashes of SHA-256 or SHA-512."""

    username: str
    root_password_hash: str = field(repr=False)
    authorized_keys: tuple[str, ...] = ()  # OpenSSH public keys, a line each
    password_hash: str = field(default="", repr=False)  # empty: with a key only


@dataclass(frozen=True, slots=True)
class Management:
    """How the leaf is reached before it routes anything, and whom it asks over the same way."""

    interface: str  # em0, fxp0, me0 or vme
    address: IPv4Interface | IPv6Interface
    gateway: Address
    name_servers: tuple[Address, ...] = ()
    ntp_servers: tuple[Address, ...] = ()


def bootstrap(leaf: Leaf, login: Login, management: Management) -> str:
    """The whole configuration of a new leaf, as a file that it can load. Raises BadValue."""
    return text(first_configuration(leaf, login, management))


def first_configuration(leaf: Leaf, login: Login, management: Management) -> Element:
    """The `<configuration>` that the file says. Raises BadValue."""
    _check(leaf, login, management)
    quiet = replace(leaf, ports=tuple(replace(port, bgp=()) for port in leaf.ports))
    root = configuration(quiet)
    system = add(root, "system")
    root.insert(0, system)
    _system(system, leaf, login, management)
    interface = named(_there(root, "interfaces"), "interface", management.interface)
    add(interface, "description", "management")
    family = add(named(interface, "unit", "0"), "family")
    named(add(family, _family(management.address)), "address", str(management.address))
    _routing(root, leaf, management)
    lldp = _there(root, "protocols", "lldp")
    add(lldp, "port-id-subtype", "interface-name")
    named(lldp, "interface", "all")
    return root


def _check(leaf: Leaf, login: Login, management: Management) -> None:
    for fits, problem in (
        (_HOST_NAME.fullmatch(leaf.name), f"host name {leaf.name!r}: allowed are letters, digits and hyphens"),
        (_USER_NAME.fullmatch(login.username), f"user name {login.username!r}: allowed are a-z, 0-9, _ and -"),
        (login.username not in ("root", "remote"), f"user name {login.username!r} is Junos' own"),
        (_HASH.fullmatch(login.root_password_hash), "root's password is no SHA-256 or SHA-512 crypt hash"),
        (not login.password_hash or _HASH.fullmatch(login.password_hash), "the password is no SHA crypt hash"),
        (login.authorized_keys or login.password_hash, f"{login.username} has neither a key nor a password"),
        (management.interface in _INTERFACES, f"interface {management.interface!r}: one of {', '.join(_INTERFACES)}"),
        (
            management.gateway in management.address.network and management.gateway != management.address.ip,
            f"gateway {management.gateway} is no other address of {management.address.network}",
        ),
        (
            not _uplinks(leaf) & {port.name for port in leaf.ports},
            "an interface is both an uplink and a host port",
        ),
    ):
        if not fits:
            raise BadValue(problem)
    for key in login.authorized_keys:
        _key_type(key)


def _uplinks(leaf: Leaf) -> set[str]:
    return set() if leaf.fabric is None else {uplink.name for uplink in leaf.fabric.uplinks}


def _key_type(key: str) -> str:
    """What Junos calls a key of this kind. Raises BadValue."""
    words = key.split(" ", 2)
    kind = _KEY_TYPES.get(words[0])
    if kind is None or len(words) < 2 or not key.isprintable() or '"' in key or "\\" in key:
        raise BadValue(f"public key {words[0]!r}: one line of {', '.join(_KEY_TYPES)}")
    try:
        data = b64decode(words[1], validate=True)
    except NoBase64:
        data = b""
    size = int.from_bytes(data[:4])
    if data[4 : 4 + size] != words[0].encode():
        raise BadValue(f"public key {words[0]!r}: what follows is no key of that kind")
    return kind


def _family(address: IPv4Interface | IPv6Interface) -> str:
    return "inet" if address.version == 4 else "inet6"


def _there(root: Element, *tags: str) -> Element:
    """The container on that path; what is missing of it is made."""
    for tag in tags:
        found = root.find(tag)
        root = add(root, tag) if found is None else found
    return root


def _system(system: Element, leaf: Leaf, login: Login, management: Management) -> None:
    add(system, "host-name", leaf.name)
    add(add(system, "root-authentication"), "encrypted-password", login.root_password_hash)
    accounts = add(system, "login")
    kind = named(accounts, "class", _CLASS)
    for permission in _PERMISSIONS:
        add(kind, "permissions", permission)
    add(kind, "deny-commands", _DENIED)
    user = named(accounts, "user", login.username)
    add(user, "class", _CLASS)
    authentication = add(user, "authentication")
    if login.password_hash:
        add(authentication, "encrypted-password", login.password_hash)
    for key in login.authorized_keys:
        named(authentication, _key_type(key), key)
    services = add(system, "services")
    add(add(services, "ssh"), "root-login", "deny")
    netconf = add(services, "netconf")
    ssh = add(netconf, "ssh")
    for what, value in (
        ("connection-limit", _CONNECTIONS),
        ("rate-limit", _CONNECTIONS_A_MINUTE),
        ("client-alive-count-max", _ALIVE_MISSED),
        ("client-alive-interval", _ALIVE_S),
    ):
        add(ssh, what, str(value))
    # A reply is then `<ok/>` or an error, never one beside the other (Junos 17.4R3, 18.2R2 and later).
    add(netconf, "rfc-compliant")
    path(system, "commit", "persist-groups-inheritance")
    add(system, "management-instance")
    for server in management.name_servers:
        add(named(system, "name-server", str(server)), "routing-instance", _INSTANCE)
    if management.ntp_servers:
        ntp = add(system, "ntp")
        for server in management.ntp_servers:
            add(named(ntp, "server", str(server)), "routing-instance", _INSTANCE)


def _routing(root: Element, leaf: Leaf, management: Management) -> None:
    instance = named(add(root, "routing-instances"), "instance", _INSTANCE)
    options = add(instance, "routing-options")
    if management.gateway.version == 4:
        named(add(options, "static"), "route", "0.0.0.0/0")
    else:
        named(add(named(options, "rib", f"{_INSTANCE}.inet6.0"), "static"), "route", "::/0")
    route = next(options.iter("route"))
    add(route, "next-hop", str(management.gateway))
    of_leaf = _there(root, "routing-options")
    if leaf.fabric is not None:
        if router_id := next((one.ip for one in leaf.fabric.loopback if one.version == 4), None):
            add(of_leaf, "router-id", str(router_id))
        add(add(of_leaf, "autonomous-system"), "as-number", str(leaf.fabric.asn))
    # Whatever has several ways goes all of them; by flow, whatever Junos calls it.
    add(add(of_leaf, "forwarding-table"), "export", "ecmp")
    policy = named(_there(root, "policy-options"), "policy-statement", "ecmp")
    path(policy, "then", "load-balance", "per-packet")

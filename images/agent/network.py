"""The files that give an installed system its addresses, for each of the four programs that may read them. Pure.

Cards are known by their MAC addresses, never by names, which depend on kernel and firmware. A gateway is on the link by
definition, so that a /32 works as well as a /31 (RFC 3021), a /127 (RFC 6164) or anything wider.
"""

from __future__ import annotations

import json

from images.agent.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.protocol import Network, NetworkStyle

BOND = "bond0"

_LACP_POLICY = "layer3+4"
_MII_MS = 100


class Leg:
    """One address, and what is reached by its gateway."""

    __slots__ = ("address", "destinations", "gateway", "six", "source")

    def __init__(self, address: str, gateway: str, destinations: list[str]) -> None:
        self.address, self.gateway, self.destinations = address, gateway, destinations
        self.six = ":" in address
        # A /32 has no subnet that its gateway is in, by which the kernel would find the right one of two sources.
        # Of IPv6 the kernel compares source and destination itself (RFC 6724 §5, rule 8).
        self.source = "" if self.six else address.partition("/")[0]


def legs(network: Network) -> list[Leg]:
    """The addresses with their routes, in the order's sequence.

    The default route of a family goes by its first public gateway, and the private subnets by its first private one.
    Without a public address of a family, its private gateway takes the default route.
    """
    made = []
    for six in (False, True):
        family = [a for a in network["addresses"] if (":" in a["address"]) is six]
        public = [a for a in family if a["public"]]
        private = [a for a in family if not a["public"]]
        for address in family:
            destinations = ["::/0" if six else "0.0.0.0/0"] if address is (public or private)[0] else []
            if public and private and address is private[0]:
                destinations = [subnet for subnet in network["private_subnets"] if (":" in subnet) is six]
            made.append(Leg(address["address"], address["gateway"], destinations))
    return made


def network_files(network: Network, style: NetworkStyle) -> list[File]:
    """The network's files for the program that the distribution uses. Raises ValueError for cards that cannot be."""
    bonded, cards = network["bond"] == "lacp", len(network["macs"])
    if not 1 <= cards <= (4 if bonded else 1):
        raise ValueError(f"{cards} cards; allowed are {'1 to 4 of a bond' if bonded else '1, or more in a bond'}")
    return _STYLES[style](network, bonded)


def _resolver(network: Network) -> File:
    return File("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in network["nameservers"]))


def _networkd(network: Network, bonded: bool) -> list[File]:
    """systemd.network(5), systemd.netdev(5)."""
    # A card of a bond gets the bond's address, so all cards are named together, and "ether" leaves out the bond and
    # whatever virtual cards the customer puts on top, which have that address, too.
    cards = ["[Match]", f"MACAddress={' '.join(network['macs'])}", "Type=ether", "", "[Network]"]
    # Two ends of a routed link cannot collide; detection would hold up "online" for a second or two.
    addressed = ["DHCP=no", "IPv6AcceptRA=no", "IPv6DuplicateAddressDetection=0"]
    neighbours = ["LLDP=yes", "EmitLLDP=yes"]
    addressed += [f"Address={leg.address}" for leg in legs(network)]
    addressed += [f"DNS={server}" for server in network["nameservers"]]
    for leg in legs(network):
        for destination in leg.destinations:
            addressed += ["", "[Route]", f"Destination={destination}"]
            addressed += [f"Gateway={leg.gateway}", "GatewayOnLink=yes"]
            addressed += [f"PreferredSource={leg.source}"] if leg.source else []
    folder = "/etc/systemd/network"
    if not bonded:
        return [_lines(f"{folder}/10-roundhouse.network", [*cards, *neighbours, *addressed]), _resolver(network)]
    device = ["[NetDev]", f"Name={BOND}", "Kind=bond", f"MACAddress={network['macs'][0]}", "", "[Bond]"]
    device += ["Mode=802.3ad", f"TransmitHashPolicy={_LACP_POLICY}", f"MIIMonitorSec={_MII_MS}ms"]
    device += ["LACPTransmitRate=fast"]
    return [
        _lines(f"{folder}/10-roundhouse-bond.netdev", device),
        _lines(f"{folder}/10-roundhouse-bond.network", ["[Match]", f"Name={BOND}", "", "[Network]", *addressed]),
        _lines(f"{folder}/10-roundhouse-ports.network", [*cards, *neighbours, f"Bond={BOND}"]),
        _resolver(network),
    ]


def _netplan(network: Network, bonded: bool) -> list[File]:
    """netplan's YAML, as JSON, which YAML contains. Names of cards are only labels here."""
    addressed: dict[str, object] = {
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "addresses": [leg.address for leg in legs(network)],
        "routes": [
            {"to": destination, "via": leg.gateway, "on-link": True, **({"from": leg.source} if leg.source else {})}
            for leg in legs(network)
            for destination in leg.destinations
        ],
    }
    if network["nameservers"]:
        addressed["nameservers"] = {"addresses": network["nameservers"]}
    cards = {f"port{number}": {"match": {"macaddress": mac}} for number, mac in enumerate(network["macs"])}
    tree: dict[str, object] = {"version": 2}
    if bonded:
        parameters = {
            "mode": "802.3ad",
            "lacp-rate": "fast",
            "mii-monitor-interval": str(_MII_MS),
            "transmit-hash-policy": _LACP_POLICY,
        }
        bond = {"interfaces": list(cards), "macaddress": network["macs"][0], "parameters": parameters, **addressed}
        tree |= {"ethernets": cards, "bonds": {BOND: bond}}
    else:
        tree["ethernets"] = {"port0": {**cards["port0"], **addressed}}
    return [File("/etc/netplan/50-roundhouse.yaml", json.dumps({"network": tree}, indent=2) + "\n", 0o600)]


def _ifupdown(network: Network, bonded: bool) -> list[File]:
    """interfaces(5); a bond needs the package ifenslave."""
    lines = ["auto lo", "iface lo inet loopback"]
    name = BOND if bonded else "uplink"
    first: list[str] = []
    if bonded:
        lines += [""]
        for number, mac in enumerate(network["macs"]):
            lines += [f"auto mac/{mac}=port{number}"]
        for number, _ in enumerate(network["macs"]):
            lines += ["", f"iface port{number} inet manual", f"    bond-master {BOND}"]
        lines += ["", f"auto {BOND}"]
        first = ["bond-slaves none", "bond-mode 802.3ad", "bond-lacp-rate fast", f"bond-miimon {_MII_MS}"]
        first += [f"bond-xmit-hash-policy {_LACP_POLICY}", f"hwaddress ether {network['macs'][0]}"]
    else:
        lines += ["", f"auto mac/{network['macs'][0]}={name}"]
    for leg in legs(network):
        lines += ["", f"iface {name} {'inet6' if leg.six else 'inet'} static", f"    address {leg.address}"]
        lines += [f"    {option}" for option in first]
        first = []
        if leg.six:
            lines += ["    accept_ra 0", "    autoconf 0", "    dad-attempts 0"]
        for to in leg.destinations:
            family, source = ("-6 ", "") if leg.six else ("", f" src {leg.source}")
            lines += [f"    up ip {family}route replace {to} via {leg.gateway} dev $IFACE onlink{source}"]
    return [_lines("/etc/network/interfaces", lines), _resolver(network)]


def _networkmanager(network: Network, bonded: bool) -> list[File]:
    """NetworkManager's keyfiles (nm-settings-keyfile(5)), read by root alone as the program insists."""
    addressed: list[str] = []
    for six in (False, True):
        family = [leg for leg in legs(network) if leg.six is six]
        addressed += ["", "[ipv6]" if six else "[ipv4]"]
        if not family:
            addressed += ["method=link-local" if six else "method=disabled"]
            continue
        addressed += ["method=manual", "may-fail=false"]
        addressed += [f"address{number}={leg.address}" for number, leg in enumerate(family, 1)]
        routes = [(to, leg) for leg in family for to in leg.destinations]
        for number, (to, leg) in enumerate(routes, 1):
            options = f"onlink=true,src={leg.source}" if leg.source else "onlink=true"
            addressed += [f"route{number}={to},{leg.gateway}", f"route{number}_options={options}"]
        if servers := [server for server in network["nameservers"] if (":" in server) is six]:
            addressed += [f"dns={';'.join(servers)};"]
        if six:
            addressed += ["addr-gen-mode=eui64", "ip6-privacy=0"]
    cards = [["[ethernet]", f"mac-address={mac}"] for mac in network["macs"]]
    if not bonded:
        made = [_keyfile("roundhouse", ["type=ethernet"], [*cards[0], *addressed])]
    else:
        bond = ["[ethernet]", f"cloned-mac-address={network['macs'][0]}", "", "[bond]", "mode=802.3ad"]
        bond += ["lacp_rate=fast", f"miimon={_MII_MS}", f"xmit_hash_policy={_LACP_POLICY}"]
        made = [_keyfile(f"roundhouse-{BOND}", ["type=bond", f"interface-name={BOND}"], [*bond, *addressed])]
        made += [
            _keyfile(f"roundhouse-port{number}", ["type=ethernet", f"master={BOND}", "slave-type=bond"], card)
            for number, card in enumerate(cards)
        ]
    # Cards that nobody has described stay as they are: NetworkManager would ask DHCP on each.
    made.append(_lines("/etc/NetworkManager/conf.d/10-roundhouse.conf", ["[main]", "no-auto-default=*"]))
    return made


def _keyfile(name: str, kind: list[str], rest: list[str]) -> File:
    lines = ["[connection]", f"id={name}", *kind, "autoconnect=true", "autoconnect-priority=100", "", *rest]
    return _lines(f"/etc/NetworkManager/system-connections/{name}.nmconnection", lines, 0o600)


def _lines(path: str, lines: list[str], mode: int = 0o644) -> File:
    return File(path, "\n".join([*lines, ""]), mode)


_STYLES: dict[str, Callable[[Network, bool], list[File]]] = {
    "networkd": _networkd,
    "netplan": _netplan,
    "ifupdown": _ifupdown,
    "networkmanager": _networkmanager,
}

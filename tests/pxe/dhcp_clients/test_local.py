"""Clients on links of the server's own host, and another DHCP server beside ours."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from pxe.decide import BootDecision, BootRequest, Lease
from pxe.dhcp import options as opt
from tests.pxe.dhcp_clients.clients import Client, missing
from tests.pxe.dhcp_clients.net import Net, hear, needs, needs_root, net, server_in, until
from tests.pxe.dhcp_clients.rack import METADATA, SERVER, SETTINGS

pytestmark = [needs_root, pytest.mark.skipif(missing("udhcpc") is not None, reason="needs the package busybox")]

LINKS = {"p1": IPv4Interface("10.64.0.8/31"), "p2": IPv4Interface("10.64.0.10/31")}
LOCAL = replace(SETTINGS, listen="0.0.0.0")


def host_of(link: IPv4Interface) -> IPv4Interface:
    return IPv4Interface((int(link.ip) + 1, 31))


class Ports:
    """The port is known by our address on the link, or by the address of whoever renews."""

    def __init__(self) -> None:
        self.asked: list[BootRequest] = []

    def decide(self, asked: BootRequest) -> BootDecision:
        self.asked.append(asked)
        for link in LINKS.values():
            if asked.giaddr == link.ip or (asked.giaddr is None and asked.ciaddr == host_of(link).ip):
                return BootDecision(Lease(host_of(link), link.ip, 16, ((METADATA, link.ip),)), "our own link")
        return BootDecision(None, "no link of ours")


def client_in(made: Net, folder: Path, namespace: str, kind: str = "udhcpc") -> Client:
    mine = folder / namespace
    mine.mkdir()
    return Client(made, mine, kind, namespace)


async def test_each_link_has_its_own_port(tmp_path: Path) -> None:
    """Answers leave by the interface that the question came in by; where we have no address, nobody is known."""
    with net() as made:
        ports = Ports()
        for interface, address in LINKS.items():
            made.cable("server", interface, f"host-{interface}", "eth0")
            made.ip("server", f"address add {address} dev {interface}")
        made.cable("server", "p3", "host-p3", "eth0")
        made.ip("server", f"address add {SERVER}/32 dev lo")
        async with server_in(made, "server", LOCAL, ports.decide) as counters, hear(made, "server", "p1") as first:
            clients = {interface: client_in(made, tmp_path, f"host-{interface}") for interface in (*LINKS, "p3")}
            for client in clients.values():
                client.start()
            for interface, address in LINKS.items():
                hosts = [str(host_of(address))]
                await until(lambda: made.address(f"host-{interface}", "eth0") == hosts)  # noqa: B023
                await until(lambda: clients[interface].events("bound"))  # noqa: B023
                (bound,) = clients[interface].events("bound")
                assert (bound.address, bound.router) == (str(host_of(address).ip), str(address.ip))
            await until(lambda: counters.snapshot().get("dhcp_silent", 0) >= 2)
            assert not clients["p3"].events("bound")
            assert {asked.giaddr for asked in ports.asked} == {address.ip for address in LINKS.values()}
            replies = [(source, to) for source, to, message in first.messages if message.op == 2]
            assert set(replies) == {(str(LINKS["p1"].ip), "255.255.255.255")}
            assert {message.yiaddr for _, _, message in first.messages if message.op == 2} == {host_of(LINKS["p1"]).ip}

            # A renewal is unicast to the server's own address, and answered from there.
            client = clients["p1"]
            await until(lambda: client.events("renew"))
            pairs = [(source, to) for source, to, message in first.messages if message.ciaddr != IPv4Address(0)]
            here, there = str(host_of(LINKS["p1"]).ip), str(SERVER)
            assert {(here, there), (there, here)} <= set(pairs)
            assert any(asked.giaddr is None and asked.ciaddr == host_of(LINKS["p1"]).ip for asked in ports.asked)


@needs("dnsmasq", "dnsmasq-base")
@needs("dhclient", "isc-dhcp-client")
async def test_another_server_on_the_wire(tmp_path: Path) -> None:
    """Whoever takes the other one's offer hears nothing more from us: no ACK, and no NAK either."""
    with net() as made:
        made.namespace("wire")
        made.ip("wire", "link add br0 type bridge")
        made.ip("wire", "link set br0 up")
        for name, interface in (("server", "p1"), ("other", "eth0"), ("host", "eth0")):
            made.cable("wire", f"to-{name}", name, interface)
            made.ip("wire", f"link set to-{name} master br0")
        made.ip("server", f"address add {LINKS['p1']} dev p1")
        made.ip("server", f"address add {SERVER}/32 dev lo")
        made.ip("other", "address add 10.99.0.1/24 dev eth0")
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="]
        words += ["--dhcp-leasefile=/dev/null", "--no-ping", "--dhcp-range=10.99.0.50,10.99.0.60,255.255.255.0,1h"]
        made.start("other", *words)
        ports = Ports()
        async with server_in(made, "server", LOCAL, ports.decide) as counters, hear(made, "server", "p1") as heard:
            await until(lambda: ":0043 " in made.run("other", "cat", "/proc/net/udp"))
            refuses_us = client_in(made, tmp_path, "host", "dhclient")
            refuses_us.refuse(LINKS["p1"].ip)
            refuses_us.start()
            await until(lambda: refuses_us.events("BOUND"))
            assert refuses_us.events("BOUND")[0].address.startswith("10.99.0.")
            chosen = [message for _, _, message in heard.messages if message.kind == opt.REQUEST]
            assert {message.address(opt.SERVER_ID) for message in chosen} == {IPv4Address("10.99.0.1")}
            await until(lambda: counters.snapshot().get("dhcp_silent"))
            answered = counters.snapshot()
            assert answered["dhcp_answered_offer"] >= 1
            assert {"dhcp_answered_ack", "dhcp_answered_nak"} & set(answered) == set()
            refuses_us.kill()
            made.ip("host", "-4 address flush dev eth0")

            refuses_other = Client(made, tmp_path / "host", "dhclient", "host")
            (tmp_path / "host" / "leases").unlink()
            refuses_other.refuse(IPv4Address("10.99.0.1"))
            refuses_other.start()
            await until(lambda: len(refuses_other.events("BOUND")) == 2)
            assert refuses_other.events("BOUND")[1].address == str(host_of(LINKS["p1"]).ip)
            assert counters.snapshot()["dhcp_answered_ack"] >= 1

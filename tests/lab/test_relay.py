"""The leaf's relay: what goes up, what comes down, and what it must drop; on a real interface as well."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from netconf.desired import Link, LinkRole
from pxe.decide import BootDecision, BootRequest, Lease
from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREPLY, BOOTREQUEST, Message, decode, encode
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from service.lab.ports import free_port
from service.lab.relay import Relay, serve_tap_relay
from tests.lab.namespace import in_namespace
from tests.lab.small_service import Port, boot_port

SERVER = "127.78.254.1"
NUMBER = 3


@dataclass
class Bench:
    """A relay with its client's side, and the servers' socket."""

    port: Port
    relay: Relay
    server: socket.socket
    delivered: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def at_server(self) -> tuple[Message, tuple[str, int]]:
        async with asyncio.timeout(60):
            datagram, source = await asyncio.get_running_loop().sock_recvfrom(self.server, 4096)
        return decode(datagram), source

    async def nothing_at_server(self) -> bool:
        """True where nothing arrives before a message that is known to pass."""
        self.relay.from_client(encode(discover(xid=0xFFFF)))
        return (await self.at_server())[0].xid == 0xFFFF


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setblocking(False)
    server.bind((SERVER, 0))
    port = boot_port(NUMBER, SERVER)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    relay = Relay(
        port,
        queue.put_nowait,
        server_port=server.getsockname()[1],
        relay_port=free_port(socket.SOCK_DGRAM, "127.78.0.6"),
    )
    yield Bench(port, relay, server, queue)
    relay.close()
    server.close()


def discover(xid: int = 1, options: dict[int, bytes] | None = None, **fields: object) -> Message:
    given = {opt.MESSAGE_TYPE: bytes((opt.DISCOVER,)), **(options or {})}
    return Message(op=BOOTREQUEST, xid=xid, chaddr=b"\x52\x54\0\0\1\1", options=given, **fields)  # type: ignore[arg-type]


async def test_up_and_down(bench: Bench) -> None:
    bench.relay.from_client(encode(discover(hops=1, flags=0x8000)))
    message, source = await bench.at_server()
    assert source[0] == "127.78.0.6"
    assert (message.giaddr, message.hops, message.flags) == (IPv4Address("127.78.0.6"), 2, 0x8000)
    assert opt.read_sub_options(message.options[opt.AGENT_INFORMATION]) == {1: b"xe-0/0/3.0", 2: b"leaf1"}
    reply = Message(
        op=BOOTREPLY,
        xid=1,
        chaddr=message.chaddr,
        giaddr=message.giaddr,
        options={opt.MESSAGE_TYPE: bytes((opt.OFFER,)), opt.AGENT_INFORMATION: message.options[82]},
    )
    bench.server.sendto(encode(reply), source)
    async with asyncio.timeout(60):
        delivered = decode(await bench.delivered.get())
    assert (delivered.kind, opt.AGENT_INFORMATION in delivered.options) == (opt.OFFER, False)


@pytest.mark.parametrize(
    "message",
    [
        discover(options={opt.AGENT_INFORMATION: b"\x01\x0axe-0/0/9.0"}),
        discover(giaddr=IPv4Address("127.78.0.40")),
        discover(hops=16),
        Message(op=BOOTREPLY, xid=1, chaddr=b""),
    ],
    ids=["forged option 82", "foreign giaddr", "too many hops", "a server on a host port"],
)
async def test_what_a_host_port_must_not_say_is_dropped(bench: Bench, message: Message) -> None:
    bench.relay.from_client(encode(message))
    bench.relay.from_client(b"junk")
    assert await bench.nothing_at_server()


async def test_replies_that_are_not_for_this_relay_are_dropped(bench: Bench) -> None:
    bench.relay.from_client(encode(discover()))
    message, source = await bench.at_server()
    giaddr = message.giaddr

    def reply(xid: int, giaddr: IPv4Address) -> bytes:
        return encode(Message(op=BOOTREPLY, xid=xid, chaddr=b"", giaddr=giaddr))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.78.254.9", 0))
        stranger.sendto(reply(1, giaddr), source)
    bench.server.sendto(reply(2, IPv4Address("127.78.0.8")), source)
    bench.server.sendto(b"junk", source)
    bench.server.sendto(reply(3, giaddr), source)
    async with asyncio.timeout(60):
        assert decode(await bench.delivered.get()).xid == 3


async def test_each_message_goes_by_the_ports_configuration_of_its_moment(bench: Bench) -> None:
    old = bench.port.links[0]
    bench.port.remove(old)
    bench.relay.from_client(encode(discover(xid=1)))
    bench.port.add(Link(LinkRole.BOOT, IPv4Interface("127.78.0.60/31")))
    servers, bench.port.relay_to = bench.port.relay_to, []
    bench.relay.from_client(encode(discover(xid=2)))
    bench.port.relay_to = servers
    bench.relay.from_client(encode(discover(xid=3)))
    message, source = await bench.at_server()
    assert (message.xid, source[0]) == (3, "127.78.0.60")


needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")
LEAF = IPv4Interface("10.64.0.24/31")
UDHCPC_SCRIPT = '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $subnet $router $staticroutes" > "$RESULT"\nexit 0\n'


def run(*words: str) -> bytes:
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.fixture
def cable() -> Iterator[tuple[Path, Path]]:
    """Two namespaces joined by a cable: the leaf's with interface p0 and its address, the host's with eth0."""
    leaf, host = f"rh-leaf-{os.getpid()}", f"rh-host-{os.getpid()}"
    try:
        for name in (leaf, host):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", leaf, "link", "add", "p0", "type", "veth", "peer", "name", "eth0", "netns", host)
        for name, interface in ((leaf, "p0"), (host, "eth0")):
            # The link-local address must be there at once, not after a second of duplicate detection.
            run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0")
            run("ip", "-n", name, "link", "set", interface, "up")
        run("ip", "-n", leaf, "addr", "add", str(LEAF), "dev", "p0")
        for name in (leaf, host):  # carrier, and with it the multicast route, come a moment later
            deadline = time.monotonic() + 60
            while not run("ip", "-n", name, "-6", "route", "show", "table", "local", "type", "multicast"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Path("/run/netns", leaf), Path("/run/netns", host)
    finally:
        for name in (leaf, host):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@needs_root
@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox for udhcpc")
async def test_a_real_client_on_a_real_interface(cable: tuple[Path, Path], tmp_path: Path) -> None:
    """udhcpc behind the relay gets its /31 and option 121 from the real server, which stands beside the leaf."""
    leaf, host = cable
    run("ip", "-n", leaf.name, "addr", "add", "192.0.2.10/32", "dev", "lo")
    server = IPv4Address("192.0.2.10")
    port = Port("leaf1", "xe-0/0/12", [Link(LinkRole.BOOT, LEAF)], [server])
    seen: list[BootRequest] = []

    def decide(asked: BootRequest) -> BootDecision:
        seen.append(asked)
        routes = ((IPv4Network("169.254.169.254/32"), LEAF.ip),)
        return BootDecision(Lease(IPv4Interface("10.64.0.25/31"), LEAF.ip, 600, routes), "port")

    script = tmp_path / "udhcpc.sh"
    script.write_text(UDHCPC_SCRIPT)
    script.chmod(0o755)
    result = tmp_path / "result"
    settings = DhcpSettings(listen=str(server), server_id=server, tftp_server=server, http_url="http://x")

    async def boot() -> None:
        async with serve_dhcp(settings, decide), serve_tap_relay(port, "p0"):
            client = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", host.name, "busybox", "udhcpc", "-i", "eth0", "-O", "staticroutes"),
                *("-n", "-q", "-f", "-t", "5", "-T", "1", "-s", str(script)),
                env={**os.environ, "RESULT": str(result)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            async with asyncio.timeout(60):
                await client.wait()

    # A loop of its own inside the leaf's namespace, so that every socket of server and relay is there.
    await asyncio.to_thread(in_namespace, leaf, lambda: asyncio.run(boot()))
    assert result.read_text().split() == [
        *("10.64.0.25", "255.255.255.254", "10.64.0.24"),
        *("169.254.169.254/32", "10.64.0.24", "0.0.0.0/0", "10.64.0.24"),
    ]
    assert {(asked.giaddr, asked.circuit_id, asked.remote_id) for asked in seen} == {(LEAF.ip, "xe-0/0/12.0", "leaf1")}

"""The rack: leaves, machines with their BMCs, and the inventory that an operator would have typed in for them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pxe.router_advert import serve_router_advert
from service.lab.bmc import Credentials, VirtualBmc
from service.lab.board import LightSettings
from service.lab.leaf import Plug, VirtualLeaf
from service.lab.light import LightMachine
from service.lab.neighbour import serve_lldp
from service.lab.netns import DataPlane, create_tap
from service.lab.parts import LeafPort, Nic, PowerTarget
from service.lab.qemu import PLATFORMS, DiskSpec, Firmware, Platform, QemuMachine
from service.lab.relay import serve_tap_relay
from service.lab.router_advert import advert_of

PORTS_PER_LEAF = 48


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """What the rack's facility hands out, by role: the prefix and the length of its blocks."""

    boot: str
    private: str
    public: str
    elastic: str
    private_elastic: str
    anycast: str
    ipv6: str = "2001:db8:64::/48"
    elastic6: str = "2001:db8:6500::/40"

    def prefixes(self) -> list[dict[str, Any]]:
        """As the inventory says it."""
        return [
            {"cidr": self.boot, "role": "boot", "block_length": 31},
            {"cidr": self.private, "role": "private", "block_length": 31},
            {"cidr": self.public, "role": "public", "block_length": 31},
            {"cidr": self.ipv6, "role": "ipv6", "block_length": 64},
            {"cidr": self.elastic, "role": "elastic", "block_length": 32},
            {"cidr": self.private_elastic, "role": "elastic", "block_length": 32},
            {"cidr": self.elastic6, "role": "elastic", "block_length": 128},
            {"cidr": self.anycast, "role": "anycast", "block_length": 32},
        ]


# Every address of 127/8 is this host's own on Linux, so each light machine has its true source address, without
# privileges, and whoever tests the rack can speak for a machine by binding to its address.
LOOPBACK_PLAN = AddressPlan(
    boot="127.64.0.0/16",
    private="127.65.0.0/16",
    public="127.66.0.0/16",
    elastic="127.67.0.0/16",
    private_elastic="10.67.0.0/16",
    anycast="127.68.0.0/24",
)

# For a private network namespace, where virtual machines need addresses that are not their own loopback's.
NAMESPACE_PLAN = AddressPlan(
    boot="10.64.0.0/16",
    private="10.65.0.0/16",
    public="198.51.100.0/24",
    elastic="203.0.113.0/24",
    private_elastic="10.67.0.0/16",
    anycast="192.0.2.0/24",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RackSettings:
    """How large the rack is and how slow its leaves are."""

    machines: int
    leaves: int = 1
    plan: str = "c1.small.x86"
    facility: str = "ewr1"
    addresses: AddressPlan = LOOPBACK_PLAN
    commit_s: float = 0.0
    light: LightSettings = field(default_factory=LightSettings)
    qemu: int = 0
    strangers: int = 0  # light machines that nobody has enrolled
    qemu_strangers: int = 0  # and virtual ones
    firmware: Firmware = "bios"
    disks: Path = Path("disks")  # of the virtual machines
    disk_specs: tuple[DiskSpec, ...] = (DiskSpec(),)  # of each virtual machine


class TooManyMachines(ValueError):
    """The leaves have not enough ports."""


def mac_of(number: int) -> str:
    """A locally administered address for the machine of that number."""
    return "02:52:48:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))


class Rack:
    """A rack that runs while the block runs."""

    def __init__(self, settings: RackSettings) -> None:
        count = settings.machines + settings.qemu + settings.strangers + settings.qemu_strangers
        if count > settings.leaves * PORTS_PER_LEAF:
            raise TooManyMachines(
                f"{count} machines need {-(-count // PORTS_PER_LEAF)} leaves of "
                f"{PORTS_PER_LEAF} ports; there are {settings.leaves}"
            )
        self.settings = settings
        self.leaves: dict[str, VirtualLeaf] = {}
        self.machines: dict[str, LightMachine] = {}
        self.virtual: dict[str, QemuMachine] = {}
        self.strange: dict[str, tuple[str, str]] = {}  # by name: leaf and port of machines that nobody has enrolled
        self._credentials = Credentials("admin", secrets.token_urlsafe(12))
        self._leaf_password = secrets.token_urlsafe(12)
        self.bmc = VirtualBmc([], "127.0.0.1", 0, self._credentials)
        self._cabling: dict[str, tuple[str, LeafPort, str]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Rack:
        await self._stack.enter_async_context(self.bmc)
        ports = [f"xe-0/0/{number}" for number in range(PORTS_PER_LEAF)]
        for number in range(1, self.settings.leaves + 1):
            leaf = await VirtualLeaf.start(
                name=f"leaf{number}",
                ports=ports,
                username="roundhouse",
                password=self._leaf_password,
                commit_seconds=self.settings.commit_s,
            )
            self._stack.push_async_callback(leaf.stop)
            leaf.plugs = partial(self._plugs, leaf.name)
            self.leaves[leaf.name] = leaf
        for number in range(self.settings.machines):
            self._add_light(number)
        for number in range(self.settings.machines, self.settings.machines + self.settings.qemu):
            await self._add_qemu(number)
        first = self.settings.machines + self.settings.qemu
        for number in range(first, first + self.settings.strangers):
            self._unplan(self._add_light(number))
        first += self.settings.strangers
        for number in range(first, first + self.settings.qemu_strangers):
            self._unplan(await self._add_qemu(number))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        targets: list[PowerTarget] = [*self.machines.values(), *self.virtual.values()]
        for machine in targets:
            await machine.power_off()
        await self._stack.aclose()

    def free_port(self, number: int) -> LeafPort:
        """Where the cable of the machine of that number ends: machines are spread over the leaves."""
        leaf = list(self.leaves.values())[number % len(self.leaves)]
        return leaf.port_view(f"xe-0/0/{number // len(self.leaves)}")

    def _plugs(self, leaf: str) -> Iterator[Plug]:
        """What ends in a leaf's ports at this moment; by LLDP a light machine says its MAC while it has power."""
        for machine in self.machines.values():
            if machine.nic.port.leaf == leaf:
                yield Plug(machine.nic.port.name, machine.nic.mac if machine.powered else "")
        for virtual in self.virtual.values():
            if virtual.nic.port.leaf == leaf:
                yield Plug(virtual.nic.port.name)

    def swap(self, one: str, other: str) -> None:
        """Swap the cables of two light machines; the inventory goes on saying where they were."""
        first, second = self.machines[one], self.machines[other]
        first.nic, second.nic = Nic(first.nic.mac, second.nic.port), Nic(second.nic.mac, first.nic.port)

    def _unplan(self, name: str) -> None:
        """Say nothing of a machine in the inventory, but that its port is free."""
        leaf, port, _ = self._cabling.pop(name)
        self.strange[name] = (leaf, port.name)

    def bmc_access(self) -> dict[str, Any]:
        """What an operator says of the BMCs of this rack's facility."""
        told = {"username": self._credentials.username, "password": self._credentials.password}
        return {"facility": self.settings.facility, "url": self.bmc.url, **told}

    def _add_light(self, number: int) -> str:
        name, mac, port = f"m{number + 1:04}", mac_of(number + 1), self.free_port(number)
        machine = LightMachine(name, Nic(mac, port), self.settings.light)
        self.machines[name] = machine
        self.bmc.add(machine)
        self.cable(name, port, mac)
        return name

    async def _add_qemu(self, number: int) -> str:
        """A virtual machine on a tap that stands for the leaf's port: relay, router advertisements, addresses."""
        name, mac, port, tap = f"q{number + 1:04}", mac_of(number + 1), self.free_port(number), f"tap{number}"
        create_tap(tap)
        light = self.settings.light
        self._stack.push_async_callback(DataPlane(port, tap).close)
        await self._stack.enter_async_context(
            serve_tap_relay(port, tap, server_port=light.dhcp_port, relay_port=light.relay_port)
        )
        await self._stack.enter_async_context(serve_router_advert(tap, partial(advert_of, port)))
        await self._stack.enter_async_context(serve_lldp(port, tap))
        machine = QemuMachine(
            *(name, Nic(mac, port), tap, self.settings.disks / f"{name}.img", self.settings.firmware),
            disks=self.settings.disk_specs,
        )
        self.virtual[name] = machine
        self.bmc.add(machine)
        self.cable(name, port, mac)
        return name

    def cable(self, name: str, port: LeafPort, mac: str) -> None:
        """Write down where a machine is plugged in, for the inventory."""
        self._cabling[name] = (port.leaf, port, mac)

    def _platform(self, name: str) -> Platform:
        """What an operator knows of the machine's firmware; a light one has that of any."""
        return PLATFORMS[self.settings.firmware if name in self.virtual else "bios"]

    def inventory(self) -> dict[str, Any]:
        """What an operator sends to `POST /admin/v1/inventory` for this rack."""
        return {
            "facility": self.settings.facility,
            "prefixes": self.settings.addresses.prefixes(),
            "leaves": [
                {
                    "name": leaf.name,
                    "host": leaf.address,
                    "port": leaf.port,
                    "username": "roundhouse",
                    "password": self._leaf_password,
                    "host_key": leaf.host_key,
                }
                for leaf in self.leaves.values()
            ],
            "machines": [
                {
                    "name": name,
                    "plan": self.settings.plan,
                    "mac": mac,
                    "arch": self._platform(name).arch,
                    "secure_boot": self._platform(name).secure_boot,
                    "leaf": leaf,
                    "port": port.name,
                    "bmc_url": self.bmc.system_url(name),
                    "bmc_username": self._credentials.username,
                    "bmc_password": self._credentials.password,
                }
                for name, (leaf, port, mac) in self._cabling.items()
            ],
            "free_ports": [{"leaf": leaf, "ports": [port]} for leaf, port in self.strange.values()],
        }

"""A virtual machine with disks of choice, ordered with a disk layout, looked at from inside, started again.

`python -m tests.lab.installed --firmware bios --disks virtio,nvme --raid 1 --handover kexec --images STORE` prints what
it sees, with the time of each stage; whatever is not as it should be ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import asyncssh

from service.cli import lab as lab_command
from service.lab.demo import show_waterfall
from service.lab.qemu import QemuMachine
from service.lab.up import Lab

_LIMIT_S = 300.0
_COMMAND_LIMIT_S = 240.0  # an initramfs made by an emulated processor


class NotSo(Exception):
    """Something is not as it should be."""


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Customer:
    """Who orders, and logs in."""

    def __init__(self, lab: Lab, session: aiohttp.ClientSession) -> None:
        self.lab, self.session = lab, session
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.device: dict[str, Any] = {}

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, path, json=body) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise NotSo(f"{method} {path}: {answer.status} {text}")
            return json.loads(text) if text else None

    async def order(self, storage: dict[str, Any]) -> float:
        """Order a device and wait until it is active and lets us in; seconds."""
        began = time.monotonic()
        settings = self.lab.rack.settings
        body = {
            "hostname": "laid-out",
            "plan": settings.plan,
            "facility": settings.facility,
            "operating_system": "debian_12",
            "ssh_keys": [{"label": "test", "key": self.key.export_public_key().decode().strip()}],
            "storage": storage,
        }
        self.device = await self.call("POST", f"/projects/{self.lab.project}/devices", body)
        while self.device["state"] != "active":
            if self.device["state"] == "failed" or time.monotonic() - began > _LIMIT_S:
                raise NotSo(f"the order is {self.device['state']}: {self.device.get('failure')}")
            await asyncio.sleep(0.2)
            self.device = await self.call("GET", f"/devices/{self.device['id']}")
        await self.inside("true")
        return time.monotonic() - began

    async def inside(self, command: str, *, within_s: float = 30) -> str:
        """What a command prints on the machine, by its published host key; waits until it lets us in."""
        public = (one for one in self.device["ip_addresses"] if one["public"] and one["address_family"] == 4)
        known: Any = ([asyncssh.import_public_key(one) for one in self.device["host_keys"]], [], [])
        address, deadline = next(public)["address"], time.monotonic() + within_s
        while True:
            try:
                async with asyncssh.connect(
                    *(address, self.lab.service.parts.settings.ssh_port),
                    username="root",
                    client_keys=[self.key],
                    known_hosts=known,
                    config=[],
                    connect_timeout=10,
                ) as connection:
                    answer = await connection.run(command, timeout=_COMMAND_LIMIT_S)
                told = str(answer.stdout).strip()
                if answer.exit_status != 0:
                    raise NotSo(f"{command}: exit status {answer.exit_status}: {told} {answer.stderr!r}")
                return told
            except asyncssh.TimeoutError:
                raise NotSo(f"{command}: not done after {_COMMAND_LIMIT_S} s") from None
            except (OSError, asyncssh.Error, TimeoutError) as err:
                if time.monotonic() > deadline:
                    raise NotSo(f"no SSH login at {address}: {err}") from None
                await asyncio.sleep(0.5)

    async def again(self, what: str, *, cut: bool = True, within_s: float = 150) -> None:
        """Start the machine again from its disks, and log in."""
        machine = next(iter(self.lab.rack.virtual.values()))
        began = time.monotonic()
        if cut:
            await machine.power_off()
        await machine.power_on("disk")
        await self.inside("true", within_s=within_s)
        _say(f"{what}: SSH login {time.monotonic() - began:.1f} s after the power came back")


async def _cut_power(lab: Lab, moments: str) -> None:
    """Cut the power at each moment of the install, `STAGE:SECONDS AFTER IT BEGAN`, and switch on again."""
    machine = next(iter(lab.rack.virtual.values()))
    query = "SELECT stage FROM agent_work WHERE kind = 'install'"
    for moment in filter(None, moments.split(",")):
        stage, _, seconds = moment.partition(":")
        while await lab.service.db.fetchval(query) != stage:
            await asyncio.sleep(0.02)
        await asyncio.sleep(float(seconds))
        await machine.power_off()
        bootable = [number for number in range(len(lab.rack.settings.disk_specs)) if _has_boot_code(machine, number)]
        _say(f"power cut {seconds} s after {stage}; boot code on disks {bootable}")
        if bootable and stage == "writing":
            raise NotSo("a disk that is half installed can be booted")
        await lab.service.db.execute("UPDATE agent_work SET stage = '' WHERE kind = 'install'")
        await machine.power_on("pxe")


def _has_boot_code(machine: QemuMachine, number: int) -> bool:
    with machine.disk_path(number).open("rb") as disk:
        return any(disk.read(440))


def _swap_front(machine: QemuMachine, number: int) -> None:
    """Of two disks, have the one of that number in the second place; twice is as it was."""
    if number == 0:
        first, second = machine.disk_path(0), machine.disk_path(1)
        aside = first.rename(first.with_suffix(".aside"))
        second.rename(first)
        aside.rename(second)


async def _look(customer: Customer, arguments: argparse.Namespace) -> None:
    """The layout as the running system sees it."""
    tree = await customer.inside("lsblk --noheadings --list --output NAME,TYPE,FSTYPE,MOUNTPOINTS")
    _say(tree)
    types = {line.split()[1] for line in tree.splitlines()}
    for wanted, type_ in (
        (arguments.raid != "none", f"raid{arguments.raid}"),
        (arguments.lvm, "lvm"),
        (bool(arguments.passphrase), "crypt"),
    ):
        if wanted is not (type_ in types):
            raise NotSo(f"{type_} is {'not ' if wanted else ''}there: {sorted(types)}")
    failed = await customer.inside("systemctl --failed --no-legend --plain")
    if failed:
        raise NotSo(f"units failed: {failed}")
    if arguments.raid != "none":
        status = await customer.inside("cat /proc/mdstat")
        if "_" in status.replace("md_", ""):
            raise NotSo(f"a mirror is not whole: {status}")


async def _course(lab: Lab, arguments: argparse.Namespace) -> int:
    async with aiohttp.ClientSession(lab.api, headers={"X-Auth-Token": lab.token}) as session:
        customer = Customer(lab, session)
        machine = next(iter(lab.rack.virtual.values()))
        try:
            if arguments.handover:
                await customer.call("POST", "/admin/v1/handover-rules", {"ways": [arguments.handover]})
            storage = {"raid": arguments.raid, "lvm": arguments.lvm, "passphrase": arguments.passphrase}
            seconds, _ = await asyncio.gather(customer.order(storage), _cut_power(lab, arguments.cut))
            _say(f"order to SSH login: {seconds:.1f} s")
            await show_waterfall(session, customer.device["id"])
            query = "SELECT result FROM agent_work WHERE kind = 'install' AND state = 'done'"
            result = await lab.service.db.fetchval(query)
            _say(f"install: {result['seconds']} s on {result['disk']}, handed over by {result['handover']}")
            if arguments.handover and result["handover"] != arguments.handover:
                raise NotSo(f"handed over by {result['handover']}")
            await _look(customer, arguments)
            if arguments.update_grub:
                for command in ("update-grub", "update-initramfs -u"):
                    began = time.monotonic()
                    _say(await customer.inside(f"{command} 2>&1 && sync"))
                    _say(f"{command}: {time.monotonic() - began:.1f} s")
            if arguments.again:
                await customer.again("from the disks")
                await _look(customer, arguments)
            for number in range(len(lab.rack.settings.disk_specs)) if arguments.lose_each else []:
                await machine.power_off()
                _swap_front(machine, number)  # a BIOS looks at the first disk that is there, and at no other
                last = machine.disk_path(len(lab.rack.settings.disk_specs) - 1)
                kept = last.rename(last.with_suffix(".kept"))
                # An initramfs waits 20 s for the other disk, in a loop of programs. QEMU's emulation of the processor
                # keeps what it made of their code until the memory is used anew, which is then slow: a minute or two.
                await customer.again(f"without disk {number}", cut=False, within_s=240)
                await machine.power_off()
                kept.replace(last)
                _swap_front(machine, number)
        except NotSo as err:
            _say(f"not so: {err}\nconsole:\n{machine.console_tail()}")
            return 1
    return 0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.installed")
    lab_command.add_arguments(parser)
    parser.add_argument("--raid", choices=("none", "1", "10"), default="none")
    parser.add_argument("--lvm", action="store_true")
    parser.add_argument("--passphrase", default="")
    parser.add_argument("--handover", choices=("switch_root", "kexec", "reboot"))
    parser.add_argument("--cut", default="", metavar="STAGE:SECONDS,…", help="cut the power then, and switch on again")
    parser.add_argument("--again", action="store_true", help="start from the disks once more")
    parser.add_argument("--update-grub", action="store_true", help="by the installed system's own tools")
    parser.add_argument("--lose-each", action="store_true", help="start without each of the disks")
    parser.set_defaults(machines=0, leaves=1, qemu=1)
    arguments = parser.parse_args()
    return lab_command.run_course(arguments, lambda lab: _course(lab, arguments))


if __name__ == "__main__":
    sys.exit(main())

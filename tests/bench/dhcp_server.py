"""Our DHCP server as a process of its own, deciding from the service's index: `python -m tests.bench.dhcp_server`."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from uuid import UUID

import structlog

from pxe.decide import BootDecision, BootRequest, Reading
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from service.boot.decider import BootDecider
from service.boot.facts import PortFacts
from service.boot.index import BootIndex
from service.lifecycle import MachineState
from service.log import configure_log

_PORTS_A_LEAF = 48
_FIRST_LINK = int(IPv4Address("10.64.0.0"))


def ports(count: int, first_mac: int) -> list[PortFacts]:
    """So many ports with a machine at each, whose MACs follow one another."""
    found = []
    for number in range(count):
        mac = (first_mac + number).to_bytes(6, "big").hex(":")
        leaf, port = divmod(number, _PORTS_A_LEAF)
        found.append(
            PortFacts(
                port_id=UUID(int=number + 1),
                leaf=f"leaf{leaf}",
                port=f"xe-0/0/{port}",
                facility="ewr1",
                link=IPv4Interface((_FIRST_LINK + number * 2, 31)),
                booted_mac=mac,
                machine_id=UUID(int=number + 1),
                machine=f"m{number}",
                mac=mac,
                state=MachineState.READY,
            )
        )
    return found


async def _serve(listen: IPv4Address, machines: int, first_mac: int) -> None:
    index = BootIndex()
    where: dict[str, tuple[IPv4Address, str, tuple[Reading, ...]]] = {}
    for facts in ports(machines, first_mac):
        index.put(facts)
        if facts.link is not None and facts.mac is not None:
            where[facts.mac] = (facts.link.ip, facts.leaf, (Reading(facts.port, facts.leaf),))
    decider = BootDecider(
        index, boot_url=f"http://{listen}", boot_url6=None, nameservers=["192.0.2.53"], saw=lambda _port, _mac: None
    )

    def decide(asked: BootRequest) -> BootDecision:
        # perfdhcp speaks for one relay without option 82; which port a client is at must come from its MAC.
        giaddr, leaf, readings = where[asked.mac]
        return decider.decide(replace(asked, giaddr=giaddr, remote_id=leaf, readings=readings))

    settings = DhcpSettings(listen=str(listen), server_id=listen, tftp_server=listen, http_url=f"http://{listen}")
    async with serve_dhcp(settings, decide):
        print("ready", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=IPv4Address, required=True)
    parser.add_argument("--machines", type=int, required=True)
    parser.add_argument("--first-mac", type=lambda word: int(word.replace(":", ""), 16), required=True)
    given = parser.parse_args()
    configure_log()
    # The service logs as it always does, and its lines are part of the cost; nobody reads them here.
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=nowhere))
        asyncio.run(_serve(given.listen, given.machines, given.first_mac))


if __name__ == "__main__":
    main()

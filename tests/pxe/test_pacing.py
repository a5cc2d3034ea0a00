"""Shares of a rate: by the rule, and by the bytes that arrive."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.http import HttpSettings
from pxe.pacing import Download, Rates, Shares
from tests.pxe.http_world import SHA256, Served, serving

RACKS = {"127.77.3.1": "a", "127.77.3.2": "a", "127.77.4.1": "b"}
UNLIMITED = 2**64 - 1


def rack_of(source: IPv4Address | IPv6Address) -> str | None:
    return RACKS.get(str(source))


@given(
    rates=st.builds(Rates, machine=st.integers(0, 10_000), rack=st.integers(0, 10_000)),
    acts=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60),
)
def test_no_machine_and_no_rack_gets_more_than_its_rate(rates: Rates, acts: list[tuple[bool, int]]) -> None:
    """Machines 0 to 9 lie in racks 0 to 2, or in none that is known."""
    shares, told, running = Shares(rates), dict[Download, int](), list[Download]()
    for begins, number in acts:
        if begins:
            rack = number % 4 if number % 4 < 3 else None
            seen: list[int] = []
            running.append(shares.begin(number, rack, seen.append))
            assert seen == [running[-1].rate]
        elif running:
            shares.end(running.pop(number % len(running)))
        told = {download: download.rate for download in running}
        for limit, attribute in ((rates.machine, "machine"), (rates.rack, "rack")):
            together, downloads = Counter[object](), Counter[object]()
            for download, rate in told.items():
                whose = getattr(download, attribute)
                together[whose] += rate
                downloads[whose] += 1
            # A rate of 1 byte/s is the least that there is.
            assert not limit or all(together[one] <= max(limit, downloads[one]) for one in together if one is not None)
        per_machine = Counter(download.machine for download in running)
        for one in running:
            for other in running:
                if one.rack == other.rack:
                    # Evenly, but for what whole numbers cannot divide.
                    difference = told[one] * per_machine[one.machine] - told[other] * per_machine[other.machine]
                    assert abs(difference) <= max(per_machine.values())


def test_what_is_free_again_is_given_to_the_others() -> None:
    shares, told = Shares(Rates(machine=70, rack=100)), dict[str, list[int]](a=[], b=[], c=[])
    first = shares.begin("m1", "rack", told["a"].append)
    second = shares.begin("m2", "rack", told["b"].append)
    third = shares.begin("m2", "rack", told["c"].append)
    shares.end(second)
    shares.end(third)
    shares.end(first)
    assert told == {"a": [70, 50, 70], "b": [50, 25], "c": [25, 50]}


async def _receive(served: Served, source: str, sha256: str, got: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.bind((source, 0))
        sock.setblocking(False)
        await loop.sock_connect(sock, (served.host, served.port))
        await loop.sock_sendall(sock, f"GET /images/{sha256} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
        while data := await loop.sock_recv(sock, 1 << 18):
            got[source] += len(data)


async def test_a_rack_shares_its_rate_and_another_is_untouched(tmp_path: Path) -> None:
    settings = HttpSettings(Rates(machine=40_000_000, rack=8_000_000))
    async with serving(tmp_path, settings, rack_of=rack_of) as served:
        sha256 = served.add_image(bytes(200_000_000))
        got: Counter[str] = Counter()
        tasks = [asyncio.create_task(_receive(served, source, sha256, got)) for source in RACKS]
        await asyncio.sleep(3)
        one, other, third = (got[source] for source in RACKS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert one / other == pytest.approx(1, rel=0.3)
    # The rack's whole rate for one, instead of its half.
    assert third / one == pytest.approx(2, rel=0.4)
    assert one + other < 3 * third


async def test_the_kernel_holds_the_rate(tmp_path: Path) -> None:
    async with serving(tmp_path, HttpSettings(Rates(machine=5_000_000)), rack_of=rack_of) as served:
        await served.get(f"/images/{SHA256}", local="127.77.3.1")
        await served.get("/boot/files/empty", local="127.77.3.1")
        await served.get(f"/images/{SHA256}", method="HEAD", local="127.77.3.1")
    assert served.rates == [5_000_000, UNLIMITED, UNLIMITED]

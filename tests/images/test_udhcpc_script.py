"""What the installer does with what its DHCP client was told, in a network namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import installer
from images.build.host import which

SCRIPT = Path(installer.__file__).with_name("udhcpc.sh")


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace with a card that is up."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace")
    if which("busybox") is None:
        pytest.skip("needs the Debian package busybox-static")
    name = f"g-dhcp-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "card", "type", "veth", "peer", "name", "leaf"], check=True)
        for card in ("card", "leaf"):
            subprocess.run(["ip", "-n", name, "link", "set", card, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def told(namespace: str, what: str, **words: str) -> tuple[list[str], list[str]]:
    """Run the script as udhcpc does; the card's IPv4 addresses and the routes then."""
    subprocess.run(
        ["ip", "netns", "exec", namespace, "busybox", "sh", SCRIPT, what],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "interface": "card", **words},
        check=True,
    )
    show = ["ip", "-n", namespace, "-4", "-o"]
    addresses = subprocess.run([*show, "addr", "show", "dev", "card"], capture_output=True, text=True, check=True)
    routes = subprocess.run([*show, "route"], capture_output=True, text=True, check=True)
    return [line.split()[3] for line in addresses.stdout.splitlines()], [
        " ".join(line.split()[:3]) for line in routes.stdout.splitlines() if " via " in line
    ]


def test_a_renewal_changes_nothing_and_another_address_replaces_the_first(namespace: str) -> None:
    first = {"ip": "10.64.0.25", "mask": "31", "router": "10.64.0.24"}
    expected = ["10.64.0.25/31"], ["default via 10.64.0.24"]
    assert told(namespace, "bound", **first) == expected
    assert told(namespace, "renew", **first) == expected
    subprocess.run(["ip", "-n", namespace, "addr", "add", "198.51.100.5/31", "dev", "card"], check=True)
    addresses, _ = told(namespace, "renew", **first)
    assert sorted(addresses) == ["10.64.0.25/31", "198.51.100.5/31"]  # a rescue's
    second = {"ip": "10.64.0.27", "mask": "31", "router": "10.64.0.26"}
    assert told(namespace, "bound", **second) == (["10.64.0.27/31"], ["default via 10.64.0.26"])


def test_routes_of_option_121_take_the_routers_place(namespace: str) -> None:
    words = {"ip": "10.64.0.25", "mask": "32", "router": "10.9.9.9"}
    routes = "192.0.2.0/24 10.64.0.24 0.0.0.0/0 10.64.0.1"
    _, found = told(namespace, "bound", **words, staticroutes=routes)
    assert sorted(found) == ["192.0.2.0/24 via 10.64.0.24", "default via 10.64.0.1"]


def test_a_lost_lease_leaves_the_address(namespace: str) -> None:
    told(namespace, "bound", ip="10.64.0.25", mask="31", router="10.64.0.24")
    assert told(namespace, "deconfig")[0] == ["10.64.0.25/31"]

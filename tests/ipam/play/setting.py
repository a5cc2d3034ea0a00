"""The worlds in which players play: VRFs with the same addresses, containers, links, elastic and anycast prefixes."""

from __future__ import annotations

from ipaddress import ip_network

from ipam.asn import add_pool
from ipam.prefixes import add_prefix, add_vrf
from service.store.rows import Pool
from tests.ipam.model import AsnPool, Node, World
from tests.ipam.play.elastic import Elastic
from tests.ipam.play.times import Times
from tests.ipam.play.tree import Tree

# Address, mask length when the scale is 0, role, mask length of the units.
_FIRST_VRF = (
    ("10.0.0.0", 8, "container", 8),
    ("10.0.0.0", 12, "container", 12),
    ("10.0.0.0", 28, "public", 31),
    ("10.1.0.0", 29, "private", 31),
    ("10.16.0.0", 28, "elastic", 32),
    ("10.17.0.0", 29, "anycast", 32),
    ("2001:db8::", 32, "container", 32),
    ("2001:db8::", 61, "ipv6", 64),
    ("2001:db8:1::", 124, "boot", 127),
    ("2001:db8:2::", 61, "elastic", 64),
)
_SECOND_VRF = (
    ("10.0.0.0", 29, "public", 31),
    ("10.16.0.0", 29, "elastic", 32),
    ("2001:db8:3::", 125, "anycast", 128),
)
_NUMBERS = 24  # in a pool

# How often each act comes, against the others.
RULES = {
    "take": 160,
    "take_many": 40,
    "hold": 60,
    "reserve_range": 15,
    "give_back": 150,
    "give_back_one": 30,
    "reserve": 70,
    "split": 40,
    "merge": 40,
    "route": 90,
    "move": 40,
    "rehome": 10,
    "unroute": 40,
    "release": 30,
    "set_status": 20,
    "all_active": 15,
    "add": 20,
    "add_badly": 5,
    "tag": 20,
    "clear_tag": 25,
    "take_asn": 20,
    "give_back_asns": 20,
    "correct": 30,
    "remember": 5,
    "recall": 5,
    "look_back": 20,
    "look_now": 10,
    "time_passes": 20,
}


class Everybody(Elastic, Tree, Times):
    """One who does all that can be done."""

    async def step(self) -> None:
        """One act at random."""
        number = self.below(sum(RULES.values()))
        for name, share in RULES.items():
            if number < share:
                await self.act(name)
                return
            number -= share

    async def act(self, name: str) -> None:
        """One act by its name."""
        self.tick()
        self.operations += 1
        self.acting = name
        if name == "time_passes":
            self.time_passes()
        else:
            await getattr(self, name)()


async def make_world(db: Pool, number: int, *, scale: int = 0) -> World:
    """A fresh world; every `number` has VRFs and AS numbers of its own. Each step of `scale` doubles the prefixes."""
    containers: list[Node] = []
    leaves: list[Node] = []
    pools: list[AsnPool] = []
    async with db.acquire() as conn:
        for vrf, plan in (("first", _FIRST_VRF), ("second", _SECOND_VRF)):
            vrf_id = await add_vrf(conn, f"{vrf} {number}")
            for address, length, role, unit in plan:
                container = role == "container"
                cidr = ip_network(f"{address}/{length if container else length - scale}")
                node = Node(vrf_id, cidr, role, unit, unit)
                prefix = await add_prefix(conn, vrf_id, str(cidr), role, block_length=unit)
                (containers if container else leaves).append(node)
                node.prefix, node.status = prefix, "active"
        for place in range(2):
            first = 4_200_000_000 + (number * 2 + place) * _NUMBERS
            pool = await add_pool(conn, f"pool-{number}-{place}", first, first + _NUMBERS // (place + 1) - 1)
            pools.append(AsnPool(pool.name, pool.first, pool.last, pool.first))
    return World(containers, leaves, pools)

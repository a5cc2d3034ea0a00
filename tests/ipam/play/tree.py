"""Prefixes change their status and shape, blocks are tagged, and AS numbers are handed out."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

from ipam import abuse, asn, prefixes
from ipam.errors import BadBlock, BadPrefix, PoolExhausted, PrefixInUse, PrefixOverlaps
from ipam.space import inside
from tests.ipam.model import AsnRow
from tests.ipam.play.player import COOL_DOWN, Errors, Player

_STATUSES = ("active", "active", "active", "draining", "frozen", "retired", "retired", "nonsense")


class Tree(Player):
    """Manages the tree, the tags and the numbers."""

    async def set_status(self) -> None:
        node, status = self.pick(self.world.nodes), self.pick(_STATUSES)
        if self.one_in(3) and (empty := [one for one in self.world.leaves if one.here and not any(one.holders)]):
            node, status = self.pick(empty), "retired"
        self.tell(f"{node.cidr} is to be {status}, was {node.status}")
        wrong: Errors = ()
        if status == "nonsense" or (not node.here and status != "retired"):
            wrong = [BadPrefix]
        elif status == "retired" and node.here and (self.world.below(node) or any(node.holders)):
            wrong = [PrefixInUse]
        prefix = await self.attempt(wrong, lambda conn: prefixes.set_status(conn, node.the_prefix().id, status))
        if prefix is None:
            return
        node.status = status
        expected = (status, self.world.standing(node))
        self.require((prefix.status, prefix.standing) == expected, "{} is not {}", prefix, expected)

    async def all_active(self) -> None:
        """The one who froze and drained has had his rest."""
        for node in self.world.nodes:
            if node.status in ("draining", "frozen"):
                self.tell(f"{node.cidr} is active again")
                prefix = node.the_prefix()
                await self.attempt((), lambda conn, id_=prefix.id: prefixes.set_status(conn, id_, "active"))  # type: ignore[misc]
                node.status = "active"

    async def add(self) -> None:
        """A retired prefix comes back, in what may be another shape; one that is there is found."""
        gone = [node for node in self.world.nodes if not node.here]
        node = self.pick(gone) if gone and not self.one_in(6) else self.pick(self.world.nodes)
        length = max(node.unit - self.below(2), node.cidr.prefixlen)
        self.tell(f"add {node.cidr} with blocks of /{length}")
        wrong: Errors = ()
        if node.here and length != node.block_length:
            wrong = [PrefixOverlaps]
        prefix = await self.attempt(
            wrong, lambda conn: prefixes.add_prefix(conn, node.vrf_id, str(node.cidr), node.role, block_length=length)
        )
        if prefix is None:
            return
        if node.here:
            self.require(prefix.id == node.the_prefix().id, "{} was there already, got {}", node.cidr, prefix)
            return
        self.world.add(node, prefix, length)
        around = self.world.around(node)
        expected = (None if around is None else around.the_prefix().id, self.world.standing(node))
        self.require((prefix.parent_id, prefix.standing) == expected, "{} is not {}", prefix, expected)

    async def add_badly(self) -> None:
        node = self.pick(self.world.leaves)
        part = self._block_in(node.cidr, node.unit)
        if part == node.cidr or not node.here:
            return
        self.tell(f"add {part} inside {node.cidr}")
        await self.attempt([PrefixOverlaps], lambda conn: prefixes.add_prefix(conn, node.vrf_id, str(part), "public"))

    async def tag(self) -> None:
        node, name, by = self.pick(self.world.leaves), self.pick(("spam", "scan", "Not a tag")), self._by()
        block = self._block_in(node.cidr, min(node.unit + 1, node.cidr.max_prefixlen))
        if len(self.world.abuse) and self.one_in(3):
            vrf_id, tagged, _ = self.world.abuse[self.below(len(self.world.abuse))]
            if vrf_id == node.vrf_id and inside(tagged, node.cidr):
                block = self._block_in(tagged, min(tagged.prefixlen + 2, tagged.max_prefixlen))
        elif self.one_in(12):
            block = self.pick([ip_network("192.0.2.0/24"), node.cidr.supernet(2)])
        self.tell(f"tag {block} as {name}")
        touched = any(
            other.here and other.vrf_id == node.vrf_id and len(other.units(block)) for other in self.world.leaves
        )
        wrong: Errors = [] if touched and name != "Not a tag" else [BadBlock]
        await self.attempt(wrong, lambda conn: abuse.tag(conn, node.vrf_id, block, name, "", now=self._now, by=by))
        if not wrong and (node.vrf_id, block, name) not in self.world.abuse:
            self.world.set_tag(node.vrf_id, block, name)

    async def clear_tag(self) -> None:
        tags, by = self.world.abuse, self._by()
        if not len(tags):
            return
        found = tags[self.below(len(tags))]
        vrf_id, block, name = found
        wrong: Errors = ()
        if self.one_in(12):
            name, wrong = "never-set", [BadBlock]
        self.tell(f"clear {name} of {block}")
        await self.attempt(wrong, lambda conn: abuse.clear(conn, vrf_id, block, name, now=self._now, by=by))
        if not wrong:
            self.world.clear_tag(found)

    async def take_asn(self) -> None:
        pool, owner, by = self.pick(self.world.pools), self.pick(self._devices), self._by()
        slot = f"bgp {self.below(2)}"
        self.tell(f"take a number of {pool.name} for {owner} {slot}")
        held = self.world.asn_by_slot.get((owner, slot))
        cooled = min(
            ((since, number) for number, since in pool.freed.items() if since <= self._now - COOL_DOWN), default=None
        )
        number = cooled[1] if cooled is not None else pool.cursor
        wrong: Errors = [PoolExhausted] if held is None and number > pool.last else ()
        tenure = await self.attempt(
            wrong,
            lambda conn: asn.take_asn(conn, pool.name, owner, slot, now=self._now, by=by, cool_down=COOL_DOWN),
        )
        if tenure is None:
            return
        if held is not None:
            self.require(tenure.id == held.id, "{} was asked for, got {}", held, tenure)
            return
        self.require((tenure.asn, tenure.since) == (number, self._now), "{} is next, got {}", number, tenure)
        if cooled is None:
            pool.cursor += 1
        else:
            del pool.freed[number]
        row = AsnRow(tenure.id, pool, number, owner, slot, self._now)
        self.world.asn_by_slot[owner, slot] = row
        self.world.asn_rows.append(row)

    async def give_back_asns(self) -> None:
        owner, by = self.pick(self._devices), self._by()
        rows = [row for key, row in self.world.asn_by_slot.items() if key[0] == owner]
        self.tell(f"give back the numbers {[row.asn for row in rows]} of {owner}")
        if rows and self.one_in(3):
            rows = rows[:1]
            number = rows[0].asn
            self.require(
                bool(await self.attempt((), lambda conn: asn.give_back_asn(conn, number, now=self._now, by=by))),
                "{} was held",
                number,
            )
        else:
            freed = await self.attempt((), lambda conn: asn.give_back_asns(conn, owner, now=self._now, by=by))
            self.require(sorted(freed or []) == sorted(row.asn for row in rows), "freed {}", freed)
        for row in rows:
            row.until = max(self._now, row.since + timedelta(microseconds=1))
            row.pool.freed[row.asn] = row.until
            del self.world.asn_by_slot[row.owner, row.slot]

"""500 transactions drawn at random, on one leaf: what is ours is as desired, what is not stays byte for byte."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from random import Random

import pytest
from lxml import etree

from netconf.desired import Leaf, Port, Profile
from netconf.errors import NetconfError
from netconf.owned import desired_objects, name_of, owned_objects
from netconf.render import Element
from netconf.session import LeafSession, open_session
from netconf.transaction import apply_all
from service.lab.leaf import Fault, Point, PortRefusal, VirtualLeaf
from service.lab.leaf.faults import Step
from tests.netconf.test_junos_models import FABRIC, OTHERS, SESSIONS, host_port, leaf_of
from tests.netconf.test_refusals import instead
from tests.netconf.test_transaction import address

_TRANSACTIONS = 500
_PORTS = 3
_SEED = 29288
# Blocks that a port may get; the last of each family may lead to several ports at once.
_BLOCKS = [ip_network(f"203.0.113.{number}/32") for number in range(_PORTS)] + [ip_network("198.18.0.1/32")]
_BLOCKS6 = [ip_network(f"2001:db8:e000:{number:x}::/64") for number in range(_PORTS)] + [ip_network("2001:db8:a::/64")]
_STEPS: tuple[Step, ...] = ("edit-config", "validate", "commit")
# Those that are over at once: tables of the others are elsewhere.
_FAULTS = (Fault.REFUSE, Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.HALF_THEN_GONE, Fault.WARNINGS)


@dataclass
class Dice:
    """Draws what comes next."""

    random: Random
    ports: dict[int, Port] = field(default_factory=dict)
    fabric: bool = False
    generation: int = 0

    def chance(self, of: float) -> bool:
        return self.random.random() < of

    def next_wanted(self) -> Leaf:
        """The leaf with one to three of its ports changed, and its fabric now and then."""
        self.generation += 1
        for number in self.random.sample(range(_PORTS), self.random.randint(1, 3)):
            port = self._changed(number)
            if port is None:
                self.ports.pop(number, None)
            else:
                self.ports[number] = replace(port, generation=self.generation)
        self.fabric ^= self.chance(0.1 if self.fabric else 0.03)
        return leaf_of([self.ports[number] for number in sorted(self.ports)], FABRIC if self.fabric else None)

    def _changed(self, number: int) -> Port | None:
        port = self.ports.get(number)
        if port is None:
            return host_port(number, self.random.choice(list(Profile)))
        match self.random.choice(("profile", "profile", "elastic", "elastic", "bgp", "links", "gone")):
            case "profile":
                return replace(port, profile=self.random.choice(list(Profile)))
            case "elastic":
                blocks = (_BLOCKS[number], _BLOCKS[-1], _BLOCKS6[number], _BLOCKS6[-1])
                return replace(port, elastic=tuple(self.random.sample(blocks, self.random.randint(0, len(blocks)))))
            case "bgp":
                password = self.random.choice(("", "secret", "another secret"))
                sessions = (replace(SESSIONS[0], password=password), SESSIONS[1])
                return replace(port, bgp=tuple(self.random.sample(sessions, self.random.randint(0, len(sessions)))))
            case "links":
                every = host_port(number, port.profile).links
                return replace(port, links=every[: self.random.randint(0, len(every))], bgp=())
        return None


@pytest.fixture
async def leaf() -> AsyncIterator[VirtualLeaf]:
    ports = [*(f"xe-0/0/{number}" for number in range(_PORTS)), *(uplink.name for uplink in FABRIC.uplinks)]
    made = await VirtualLeaf.start("leaf1", ports, username="rh", password="secret")
    made.running = etree.fromstring(OTHERS, etree.XMLParser(remove_blank_text=True))
    made.candidate = copy.deepcopy(made.running)
    yield made
    await made.stop()


def foreign(leaf: VirtualLeaf) -> bytes:
    """All that runs, byte for byte, without what is named as only ours is; told without the driver's help."""
    rest = copy.deepcopy(leaf.running)
    for entry in list(rest.iter()):
        name = name_of(entry)
        ours = name == "rh" or name.startswith(("rh4-", "rh6-", "rh-", "xe-0/0/", "et-0/0/5", "lo0"))
        if ours or (entry.tag == "route" and entry.findtext("tag/metric-value") == "29288"):
            parent = entry.getparent()
            assert parent is not None
            parent.remove(entry)
    return etree.tostring(rest)


def texts(objects: dict[tuple[str, ...], Element]) -> dict[tuple[str, ...], bytes]:
    return {key: etree.tostring(one) for key, one in objects.items()}


async def somebody_else_changes(session: LeafSession, number: int) -> str:
    """Through a session of his own, a change beside each thing of ours; a word that is in it."""
    word = f"noc-{number}"
    text = f"""<configuration>
 <system><host-name>{word}</host-name></system>
 <interfaces><interface><name>xe-1/0/{number % 3}</name><description>{word}</description></interface></interfaces>
 <policy-options><prefix-list><name>{word}</name><prefix-list-item><name>192.0.2.{number % 256}/32</name>
  </prefix-list-item></prefix-list></policy-options>
 <firewall><family><inet><filter><name>{word}</name><term><name>all</name><then><accept/></then></term></filter></inet>
 </family></firewall>
</configuration>"""
    await session.lock()
    await session.edit_candidate(etree.fromstring(text, etree.XMLParser(remove_blank_text=True)))
    await session.confirm(None)
    await session.unlock()
    return word


def but_refused(wanted: Leaf, is_: Leaf, refused: set[str]) -> Leaf:
    """What the leaf is to be after a transaction that it did not take whole."""
    made = instead(wanted, is_, refused)
    return replace(made, fabric=is_.fabric) if "fabric" in refused else made


async def settled(leaf: VirtualLeaf, wanted: Leaf) -> None:
    """After an error of any kind another try, in a session of its own, gets there."""
    leaf.faults.next.clear()
    leaf.faults.refuse_ports = None
    async with open_session(address(leaf)) as session:
        await apply_all(session, wanted)


async def test_five_hundred_transactions_drawn_at_random(leaf: VirtualLeaf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 0.05)
    dice, is_, others = Dice(Random(_SEED)), leaf_of([]), foreign(leaf)
    seen: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        session, somebody = [await stack.enter_async_context(open_session(address(leaf))) for _ in range(2)]
        for number in range(_TRANSACTIONS):
            wanted = dice.next_wanted()
            refused = {port.name for port in (*is_.ports, *wanted.ports) if dice.chance(0.03)}
            said = {name: f"mgd: {name} is odd" for name in refused}
            refusal = PortRefusal(said, dice.random.choice(_STEPS), dice.chance(0.5))
            leaf.faults.refuse_ports = refusal if said else None
            if dice.chance(0.05):
                word = await somebody_else_changes(somebody, number)
                others = foreign(leaf)
                assert word.encode() in others
                seen["somebody else"] += 1
            if dice.chance(0.05):
                leaf.faults.next[dice.random.choice(list(Point))] = dice.random.choice(_FAULTS)
            try:
                applied = await apply_all(session, wanted)
                leaf.faults.next.clear()
                is_ = but_refused(wanted, is_, set(applied.refused))
                seen["refused"] += len(applied.refused)
            except NetconfError:
                await settled(leaf, wanted)
                is_ = wanted
                seen["failed"] += 1
            assert texts(owned_objects(leaf.running)) == texts(desired_objects(is_))
            assert foreign(leaf) == others
            if not session.alive:
                session = await stack.enter_async_context(open_session(address(leaf)))
            if not somebody.alive:
                somebody = await stack.enter_async_context(open_session(address(leaf)))
        await settled(leaf, leaf_of([]))
    assert owned_objects(leaf.running) == {}
    assert foreign(leaf) == others
    assert all(seen[what] > 5 for what in ("somebody else", "refused", "failed")), seen

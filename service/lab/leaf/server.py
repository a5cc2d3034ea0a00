"""The virtual leaf: NETCONF sessions in front of one pair of datastores, with a lock, trials and a clock."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import structlog
from lxml import etree

from netconf.lldp import LldpNeighbor
from netconf.owned import owned_objects, set_lines
from netconf.render import ROUTE_TAG, Element
from service.lab.leaf.datastore import check
from service.lab.leaf.faults import LeafFaults
from service.lab.leaf.listener import Listener
from service.lab.leaf.session import CAPABILITIES, NetconfSession
from service.lab.leaf.view import PortView, update_views

log = structlog.get_logger()

# What was on the leaf before Roundhouse came, and must be there unchanged when it is gone.
_FOREIGN = """<configuration>
 <system><host-name>{name}</host-name><login><class><name>noc</name><permissions>view</permissions></class></login>
  <ntp><server><name>192.0.2.123</name></server></ntp></system>
 <interfaces>
  <interface><name>et-0/0/48</name><description>spine1</description><mtu>9216</mtu><unit><name>0</name><family><inet>
   <address><name>10.255.0.1/31</name></address></inet></family></unit></interface>
  <interface><name>et-0/0/49</name><description>spine2</description><mtu>9216</mtu><unit><name>0</name><family><inet>
   <address><name>10.255.0.3/31</name></address></inet></family></unit></interface>
  <interface><name>lo0</name><unit><name>0</name><family><inet><filter><input><filter-name>protect-re</filter-name>
   </input></filter><address><name>10.255.255.12/32</name></address></inet></family></unit></interface>
 </interfaces>
 <routing-options><router-id>10.255.255.12</router-id>
  <static><route><name>192.0.2.0/24</name><next-hop>10.255.0.0</next-hop><tag><metric-value>7</metric-value></tag></route>
  </static><rib><name>inet6.0</name><static><route><name>2001:db8:ffff::/48</name><discard/></route></static></rib>
 </routing-options>
 <protocols><lldp><port-id-subtype>interface-name</port-id-subtype><interface><name>all</name></interface></lldp>
 </protocols>
 <policy-options><prefix-list><name>operators</name><prefix-list-item><name>192.0.2.0/24</name></prefix-list-item>
 </prefix-list></policy-options>
 <firewall><family><inet><filter><name>protect-re</name><term><name>mgmt</name><from><source-prefix-list>
  <name>operators</name></source-prefix-list></from><then><accept/></then></term></filter></inet></family></firewall>
</configuration>"""


@dataclass(slots=True)
class Trial:
    """A confirmed commit that waits for its confirmation."""

    before: Element
    session: int
    persist: str | None
    timer: asyncio.TimerHandle


class VirtualLeaf:
    """A leaf. `start` it, plug machines into its `port_view`s, `stop` it."""

    def __init__(self, name: str, ports: Sequence[str], login: tuple[str, str], commit_seconds: float) -> None:
        self.name = name
        self.login = login
        self.commit_seconds = commit_seconds
        self.faults = LeafFaults()
        self.capabilities = CAPABILITIES  # of sessions that are yet to come
        self.neighbors: set[LldpNeighbor] = set()  # what is at the other end of the cables
        self.commits = 0
        self.calls: Counter[str] = Counter()  # that were made so far, by operation
        self.running: Element = _parsed(_FOREIGN.format(name=name))
        self.candidate: Element = copy.deepcopy(self.running)
        self.dirty = False
        self.lock_holder: int | str | None = None  # a session's number, or somebody at the console
        self.trial: Trial | None = None
        self.sessions: dict[int, NetconfSession] = {}
        self.numbers = count(1)
        self.busy = asyncio.Lock()
        self._views = {port: PortView(name, port) for port in ports}
        self._listener = Listener(login, lambda process: NetconfSession(self, process).run())
        self._boots = 0
        self._rebooting: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        ports: Sequence[str],
        *,
        username: str,
        password: str,
        host: str = "127.0.0.1",
        port: int = 0,
        commit_seconds: float = 0.0,
    ) -> VirtualLeaf:
        """A leaf that listens. Port 0 takes a free one."""
        leaf = cls(name, ports, (username, password), commit_seconds)
        leaf._listener.up(host, port)
        return leaf

    async def stop(self) -> None:
        """End all sessions and listen no more."""
        if self._rebooting is not None:
            self._rebooting.cancel()
        self.end_trial()
        await self._listener.down()

    def reboot(self) -> None:
        """Be gone for a while. A trial is taken back; locks and uncommitted changes are lost with their sessions."""
        self._rebooting = asyncio.create_task(self._reboot())

    async def _reboot(self) -> None:
        self._boots += 1
        await self._listener.down()
        self.roll_back()
        self.lock_holder, self.candidate, self.dirty = None, copy.deepcopy(self.running), False
        await asyncio.sleep(self.faults.reboot_seconds)
        self._listener.up(*self._listener.address)

    @property
    def reachable(self) -> asyncio.Event:
        """Set unless everything that is sent to the leaf, or by it, gets lost."""
        return self._listener.reachable

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._listener.address[0]

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return self._listener.address[1]

    @property
    def host_key(self) -> str:
        """Its host key, in OpenSSH form."""
        return self._listener.host_key

    def port_view(self, name: str) -> PortView:
        """A port, for a cable to end in."""
        return self._views[name]

    def set_lines(self) -> list[str]:
        """What Roundhouse owns of the running configuration, as `set` statements."""
        return set_lines(owned_objects(self.running))

    def foreign(self) -> bytes:
        """The rest of the running configuration, byte for byte."""
        rest = copy.deepcopy(self.running)
        for place in ("interfaces/interface", "policy-options/prefix-list", "firewall/family/*/filter"):
            for one in rest.findall(place):
                name, description = one.findtext("name") or "", one.findtext("description") or ""
                if name.startswith("rh") or description.startswith("rh "):
                    parent = one.getparent()
                    assert parent is not None
                    parent.remove(one)
        for route in rest.findall("routing-options//static/route"):
            if route.findtext("tag/metric-value") == ROUTE_TAG:
                parent = route.getparent()
                assert parent is not None
                parent.remove(route)
        for place in ("forwarding-options", "protocols/router-advertisement", "firewall/family/inet6"):
            for one in rest.findall(place):
                parent = one.getparent()
                assert parent is not None
                parent.remove(one)
        return etree.tostring(rest)

    async def commit(self, session: int, *, confirmed_s: int | None, persist: str | None) -> None:
        """Run the candidate. Raises EditError when it does not hold together."""
        async with self.busy:
            check(self.candidate)
            boots = self._boots
            await asyncio.sleep(self.commit_seconds)
            if boots != self._boots:
                raise ConnectionResetError("rebooted in the middle of a commit")
            before = self.trial.before if self.trial is not None else self.running
            self.end_trial()
            if confirmed_s is not None:
                timer = asyncio.get_running_loop().call_later(confirmed_s, self.roll_back)
                self.trial = Trial(before, session, persist, timer)
            self.commits += 1
            self._run(copy.deepcopy(self.candidate))
            self.dirty = False
            if self.faults.black_hole and not self.faults.black_hole_answers:
                self.reachable.clear()

    def end_trial(self) -> None:
        """What is running stays."""
        if self.trial is not None:
            self.trial.timer.cancel()
            self.trial = None

    def roll_back(self) -> None:
        """The trial was not confirmed: what was running before runs again."""
        if self.trial is not None:
            log.info("leaf_rolled_back", leaf=self.name)
            before = self.trial.before
            self.end_trial()
            self._run(before)
            self.candidate, self.dirty = copy.deepcopy(before), False
            self.reachable.set()

    def session_ended(self, number: int) -> None:
        """Clean up behind a session: its lock, its uncommitted changes, its trial (RFC 6241 §8.4.1)."""
        self.sessions.pop(number, None)
        if self.lock_holder == number:
            self.lock_holder = None
            self.candidate, self.dirty = copy.deepcopy(self.running), False
        if self.trial is not None and self.trial.session == number and self.trial.persist is None:
            self.roll_back()

    def _run(self, configuration: Element) -> None:
        self.running = configuration
        update_views(self._views, configuration)


def _parsed(text: str) -> Element:
    return etree.fromstring(text, etree.XMLParser(remove_blank_text=True))

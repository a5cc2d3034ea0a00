"""The virtual leaf: NETCONF sessions in front of one pair of datastores, with a lock, trials and a clock."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from lxml import etree

from netconf.lldp import LldpNeighbor
from netconf.owned import owned_objects, set_lines
from service.lab.leaf.bgp import Speaker, neighbors_of
from service.lab.leaf.databases import Databases, Trials
from service.lab.leaf.faults import LeafFaults
from service.lab.leaf.foreign import configuration_before, without_ours
from service.lab.leaf.links import Connected, Plug, interfaces_of
from service.lab.leaf.listener import Listener
from service.lab.leaf.operational import Condition
from service.lab.leaf.rfc import MONITORING
from service.lab.leaf.routes import routes_of
from service.lab.leaf.session import BASE_1_1, NetconfSession
from service.lab.leaf.traffic import Traffic
from service.lab.leaf.view import PortView, update_views

NAMED_TRIALS = "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
_CAPABILITIES: tuple[str, ...] = (
    "urn:ietf:params:netconf:base:1.0",
    BASE_1_1,
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.0",
    NAMED_TRIALS,
    "urn:ietf:params:netconf:capability:validate:1.0",
    MONITORING,
    "http://xml.juniper.net/netconf/junos/1.0",
    "http://xml.juniper.net/dmi/system/1.0",
)


class VirtualLeaf(Databases):
    """A leaf. `start` it, plug machines into its `port_view`s, `stop` it."""

    def __init__(self, name: str, ports: Sequence[str], login: tuple[str, str], commit_seconds: float) -> None:
        super().__init__(name, login[0], configuration_before(name), self._ran, LeafFaults(), commit_seconds)
        self._capabilities = _CAPABILITIES
        # What the ports' cables end in; None: each in something that is silent.
        self.plugs: Callable[[], Iterable[Plug]] | None = None
        self.speakers: dict[str, Speaker] = {}  # who speaks BGP, by address
        self.traffic = Traffic()
        self.calls: Counter[str] = Counter()  # that were made so far, by operation
        self.sessions: dict[int, NetconfSession] = {}
        self.numbers = count(1)
        self._heard: set[LldpNeighbor] = set()
        self._ran_since = time.monotonic()
        self._views = {port: PortView(name, port) for port in ports}
        self._listener = Listener(login, lambda process: NetconfSession(self, process).run())
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
        trials: Trials = Trials.NAMED,
    ) -> VirtualLeaf:
        """A leaf that listens. Port 0 takes a free one."""
        leaf = cls(name, ports, (username, password), commit_seconds)
        leaf.trials = trials
        leaf._listener.up(host, port)
        return leaf

    async def stop(self) -> None:
        """End all sessions and listen no more."""
        if self._rebooting is not None:
            self._rebooting.cancel()
        self.close()
        await self._listener.down()

    def reboot(self) -> None:
        """Be gone for a while. A trial is taken back; locks and uncommitted changes are lost with their sessions."""
        self._rebooting = asyncio.create_task(self._reboot())

    async def _reboot(self) -> None:
        self.boots += 1
        self.traffic.restart()
        await self._listener.down()
        self.boot()
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

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What sessions that are yet to come are told."""
        hidden = (BASE_1_1, NAMED_TRIALS) if self.trials is Trials.DEVICE else ()
        return tuple(one for one in self._capabilities if one not in hidden)

    @capabilities.setter
    def capabilities(self, offered: tuple[str, ...]) -> None:
        self._capabilities = offered

    def foreign(self) -> bytes:
        """What of the running configuration is not Roundhouse's, byte for byte."""
        return etree.tostring(without_ours(self.running))

    @property
    def neighbors(self) -> set[LldpNeighbor]:
        """Whom the ports hear by LLDP: what is plugged in and says something, and whom else one has put here."""
        lost = self.struck.lost_neighbors & self.faults.lost_neighbors
        return {one for one in self._heard | self._plugged() if one.port not in lost}

    @neighbors.setter
    def neighbors(self, heard: set[LldpNeighbor]) -> None:
        self._heard = heard - self._plugged()

    def _plugged(self) -> set[LldpNeighbor]:
        plugs = () if self.plugs is None else self.plugs()
        return {LldpNeighbor(plug.port, plug.mac, plug.mac) for plug in plugs if plug.mac}

    def condition(self) -> Condition:
        """What the leaf does at this moment."""
        configuration = self.effective
        cabled = None if self.plugs is None else {plug.port for plug in self.plugs()}
        down = self.struck.down & self.faults.down

        def connected(port: str) -> bool:
            return port not in down and (cabled is None or port not in self._views or port in cabled)

        interfaces = tuple(interfaces_of(configuration, list(self._views), connected))
        neighbors = neighbors_of(configuration, Connected(interfaces), self.speakers)
        lost = self.struck.lost_routes & self.faults.lost_routes
        routes = routes_of(configuration, interfaces, neighbors, self.speakers, lost)
        age_s = int(time.monotonic() - self._ran_since)
        return Condition(interfaces, neighbors, self.speakers, routes, age_s, self.traffic.counted)

    def _ran(self) -> None:
        self._ran_since = time.monotonic()
        update_views(self._views, self.effective)
        if self.trial is None:
            self.reachable.set()
        elif self.faults.black_hole and not self.faults.black_hole_answers:
            self.reachable.clear()

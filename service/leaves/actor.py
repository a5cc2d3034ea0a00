"""One actor a leaf: makes the leaf what the database says, again whenever that changes, and looks after it in between.

Level-triggered: an actor applies what is pending on its leaf, however it came about, so that changes which come
together share one commit, a lost hint is found by the next look, and a crash between commit and database is repaired by
looking again. What nobody changed is not touched: what somebody else made of our part of the leaf is found by reading
it, and shown, until an operator has it repaired or accepts it. A port whose change the leaf refuses is left out, with
the leaf's own reason, and holds nobody else up. Every process runs the actors; the leaf's lease, with its epoch, lets
one of them write.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Interface
from math import inf
from typing import Any
from uuid import UUID, uuid4

import structlog

from netconf.desired import Leaf, Link, LinkRole, Port, Profile
from netconf.drift import drift_of
from netconf.errors import LockedByOther, NetconfError, Refused, Unverified
from netconf.names import FABRIC
from netconf.owned import desired_objects, relevant, to_xml
from netconf.render import Element
from netconf.session import Database, LeafAddress, LeafSession, open_session
from netconf.transaction import Applied, apply_all, read_running
from service.elastic import routes_seen
from service.leaves.cabling import macs_of, seen_at_ports
from service.leaves.desired import desired_leaf
from service.lifecycle import LeafState
from service.parts import Parts
from service.secrets import open_sealed, seal
from service.store.leaves import LeafRow, leaf_row, raise_generation
from service.store.notify import Hub, Watch
from service.store.rows import AWAY, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_LOOK_S = 5.0  # between looks at the database without a hint
_QUIET_S = 1.0  # without a hint, after which what was seen last is written down
_FIRST_SAMPLE_S = 30.0  # between two readings of the counters because of devices that are new
_REFUSED_S = 30.0  # before the leaf is asked again for what it refused, unless something changes
_RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_LEASE = timedelta(seconds=15)
# What a leaf is in after an error; after any other one nothing is known but that it did not answer as it should.
_STATES = (
    (Refused, LeafState.REFUSED),
    (Unverified, LeafState.REFUSED),
    (LockedByOther, LeafState.LOCKED),
)


def gather_s(commit_s: float | None) -> tuple[float, float]:
    """How long a hint waits for others that may share its commit: until none has come for so long, and so long at most.

    It goes by what the leaf's commits take. A burst then shares one commit instead of holding up all but its first
    few, and a lone change loses a thirtieth. Whatever comes during a commit waits for its end, and no longer.
    """
    seconds = commit_s or 0.0
    return min(0.5, seconds / 16), min(2.0, seconds / 4)


@dataclass(frozen=True, slots=True)
class _View:
    """A leaf and what it should be, of one moment."""

    row: LeafRow
    desired: Leaf
    ports: Sequence[Any]

    @property
    def pending(self) -> list[Any]:
        """The ports that were not seen as they should be."""
        return [port for port in self.ports if port["applied"] < port["generation"]]

    @property
    def in_use(self) -> frozenset[tuple[UUID, UUID]]:
        """The ports that lead to a device, with the device."""
        return frozenset(
            (port["id"], port["device_id"])
            for port in self.ports
            if port["device_id"] is not None and port["profile"] == "active" and port["applied"] >= port["generation"]
        )


class LeafActor:
    """The one writer of one leaf, as long as it holds the leaf's lease."""

    def __init__(self, db: Pool, parts: Parts, hub: Hub, leaf_id: UUID, holder: UUID) -> None:
        self._db = db
        self._parts = parts
        self._hub = hub
        self._leaf_id = leaf_id
        self._holder = holder
        self._opened: Any = None
        self._session: LeafSession | None = None
        self._address: LeafAddress | None = None
        # What the leaf does not take, by the id and generation of the port, or of the leaf itself: what, and why.
        self._refused: dict[tuple[UUID, int], str] = {}
        self._ask_again_at = 0.0
        self._commit_s: float | None = None
        # How the leaf was seen after a change; written down when it has become quiet.
        self._unseen: tuple[_View, Element, datetime] | None = None
        self._quiet = False
        self._sampled: frozenset[tuple[UUID, UUID]] = frozenset()  # ports and devices whose counters were read
        self._sampled_at = -inf
        self._has_read = False  # in this process, which may have been started with other settings

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        try:
            async with self._hub.watch(f"leaf:{self._leaf_id}") as watch:
                while True:
                    try:
                        await self._look()
                        failures = 0
                    except (NetconfError, OSError) as err:
                        failures += 1
                        log.warning("leaf_not_changed", leaf_id=str(self._leaf_id), error=str(err), failures=failures)
                        if not isinstance(err, LockedByOther | Refused):
                            await self._close()
                    except Exception:
                        failures += 1
                        log.exception("leaf_actor_error", leaf_id=str(self._leaf_id))
                        await self._close()
                    pause = _QUIET_S if self._unseen else _LOOK_S
                    if failures:
                        pause = self._parts.jitter.around(_RETRY_S[min(failures, len(_RETRY_S)) - 1])
                    self._quiet = not await watch.changed(pause)
                    if not self._quiet:
                        await self._gather(watch)
        finally:
            await self._close()
            await self._db.execute(Q["release_leaf"], self._leaf_id, self._holder)

    async def _gather(self, watch: Watch) -> None:
        gap, most = gather_s(self._commit_s)
        loop = asyncio.get_running_loop()
        until = loop.time() + most
        while (left := until - loop.time()) > 0 and await watch.changed(min(gap, left)):
            pass

    async def _look(self) -> None:
        """Apply what is pending, until nothing is; read the leaf when that is due."""
        epoch = await self._db.fetchval(Q["hold_leaf"], self._leaf_id, self._holder, _LEASE)
        if epoch is None:
            await self._close()
            return
        keeper = asyncio.create_task(self._keep_lease())
        try:
            while await self._step(epoch):
                pass
        finally:
            keeper.cancel()

    async def _step(self, epoch: int) -> bool:
        """One thing that is to be done on the leaf; False when nothing was."""
        view = await self._view()
        row = view.row
        self._commit_s = row.commit_s
        there = {(port["id"], port["generation"]) for port in view.pending} | {(row.id, row.generation)}
        if asyncio.get_running_loop().time() >= self._ask_again_at:
            there.clear()
        self._refused = {key: reason for key, reason in self._refused.items() if key in there}
        news = [port for port in view.pending if (port["id"], port["generation"]) not in self._refused]
        if row.applied < row.generation and (row.id, row.generation) not in self._refused:
            await self._change(view, view.pending, epoch, whole=True)
        elif news or row.state in (LeafState.UNKNOWN, LeafState.CHANGING):
            await self._change(view, news, epoch, whole=False)
        elif self._read_due(row):
            await self._read(view, epoch)
        elif self._sample_due(view):
            await self._sample(view, epoch)
        else:
            if self._unseen is not None and self._quiet:
                await self._write_down(*self._unseen, epoch)
            await routes_seen(self._db, self._leaf_id, now=self._parts.clock.now())
            return False
        return True

    async def _view(self) -> _View:
        async with self._db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row = await leaf_row(conn, str(self._leaf_id))
            assert row is not None  # leaves are not removed
            desired, ports = await desired_leaf(conn, row.id, row.name, self._parts)
        return _View(row, desired, ports)

    def _read_due(self, row: LeafRow) -> bool:
        if row.running_at is None or not self._has_read:
            return True
        if row.read_asked_at is not None and row.read_asked_at > row.running_at:
            return True
        return self._parts.clock.now() - row.running_at > timedelta(seconds=self._parts.settings.leaf_read_s)

    def _sample_due(self, view: _View) -> bool:
        every, now = self._parts.settings.traffic_sample_s, asyncio.get_running_loop().time()
        if not every or not view.in_use:
            return False
        # A device's traffic is counted from its first sample on: that one comes soon.
        return now >= self._sampled_at + (min(every, _FIRST_SAMPLE_S) if view.in_use - self._sampled else every)

    async def _sample(self, view: _View, epoch: int) -> None:
        """Write down what the ports of devices have counted. What the leaf sends is inbound for the device."""
        self._sampled_at, self._sampled = asyncio.get_running_loop().time(), view.in_use
        session = await self._connected(view.row, epoch)
        if not session.junos:
            return
        counters = {one.port: one for one in await session.port_counters()}
        rows = [
            (port["device_id"], port["id"], counters[port["name"]].sent, counters[port["name"]].received)
            for port in view.ports
            if (port["id"], port["device_id"]) in view.in_use and port["name"] in counters
        ]
        columns = [[row[place] for row in rows] for place in range(4)]
        now = self._parts.clock.now()
        await self._db.execute(Q["sample_traffic"], self._leaf_id, epoch, now, *columns)

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(_LEASE.total_seconds() / 3)
            await self._db.execute(Q["hold_leaf"], self._leaf_id, self._holder, _LEASE)

    async def _change(self, view: _View, ports: Sequence[Any], epoch: int, *, whole: bool) -> None:
        """Make these ports, or the whole leaf, what they should be."""
        moment = await self._db.fetchval(Q["moment"])
        try:
            session = await self._connected(view.row, epoch)
            await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, LeafState.CHANGING, None)
            applied = await apply_all(
                session,
                view.desired,
                only=None if whole else [port["name"] for port in ports],
                confirm_timeout_s=self._parts.settings.leaf_confirm_s,
                ours=view.row.sessions,
            )
            await self._db.execute(Q["sessions_settled"], self._leaf_id, epoch, session.session_id)
        except NetconfError as err:
            await self._failed(view, ports, epoch, err, whole=whole)
            raise
        self._unseen = view, applied.running, moment
        await self._mark(view, ports, applied, epoch, whole=whole)
        log.info(
            "leaf_changed",
            leaf=view.row.name,
            changed=applied.changed,
            seconds=round(applied.seconds, 3),
            ports=len(ports) - len(applied.refused),
            refused=sorted(applied.refused),
        )

    async def _failed(self, view: _View, ports: Sequence[Any], epoch: int, err: NetconfError, *, whole: bool) -> None:
        state = next((state for kind, state in _STATES if isinstance(err, kind)), LeafState.UNREACHABLE)
        await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, state, str(err))
        if isinstance(err, Refused):
            # What all ports share was refused: none of these can go.
            await self._refuse(ports, epoch, str(err))
            if whole:
                self._refuse_whole(view.row, str(err))

    def _refuse_whole(self, row: LeafRow, reason: str) -> None:
        self._refused[row.id, row.generation] = reason
        self._ask_again_at = asyncio.get_running_loop().time() + _REFUSED_S

    async def _refuse(self, ports: Sequence[Any], epoch: int, reason: str) -> None:
        self._refused |= {(port["id"], port["generation"]): f"{port['name']}: {reason}" for port in ports}
        self._ask_again_at = asyncio.get_running_loop().time() + _REFUSED_S
        ids, generations = [port["id"] for port in ports], [port["generation"] for port in ports]
        await self._signal(await self._db.fetch(Q["mark_ports_faulty"], epoch, ids, generations, reason))

    async def _mark(self, view: _View, ports: Sequence[Any], applied: Applied, epoch: int, *, whole: bool) -> None:
        for name, reason in applied.refused.items():
            await self._refuse([port for port in ports if port["name"] == name], epoch, reason)
        if FABRIC in applied.refused:
            self._refuse_whole(view.row, f"{FABRIC}: {applied.refused[FABRIC]}")
        good = [port for port in ports if port["name"] not in applied.refused]
        ids, generations = [port["id"] for port in good], [port["generation"] for port in good]
        async with self._db.acquire() as conn, conn.transaction():
            rows = await conn.fetch(Q["mark_ports_applied"], epoch, ids, generations)
            await conn.execute(Q["set_leaf_state"], self._leaf_id, epoch, *self._outcome())
            if whole and FABRIC not in applied.refused:
                row = (view.row.generation, _rendering(view.desired))
                await conn.execute(Q["mark_leaf_applied"], self._leaf_id, epoch, *row)
            if applied.commit_s is not None:
                await conn.execute(Q["set_commit_s"], self._leaf_id, epoch, applied.commit_s)
        await self._signal(rows)

    def _outcome(self) -> tuple[LeafState, str | None]:
        """What a leaf that answered is in, and what it does not take."""
        told = "; ".join(sorted(self._refused.values())) or None
        return (LeafState.REFUSED if told else LeafState.IN_SYNC), told

    async def _signal(self, rows: Sequence[Any]) -> None:
        """Wake the runs that wait for these ports: their devices' and their machines'."""
        on_ports = await self._db.fetch(Q["machines_on_ports"], [row["id"] for row in rows])
        subjects = [row["device_id"] for row in rows] + [row["id"] for row in on_ports]
        await signal_all(self._db, subjects, now=self._parts.clock.now())

    async def _read(self, view: _View, epoch: int) -> None:
        """See what runs on the leaf and who is at the other end of its cables."""
        moment = await self._db.fetchval(Q["moment"])
        try:
            session = await self._connected(view.row, epoch)
            configuration = await read_running(session)
            neighbors = await session.lldp_neighbors() if session.junos else ()
        except NetconfError as err:
            await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, LeafState.UNREACHABLE, str(err))
            raise
        await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, *self._outcome())
        macs = [mac for one in neighbors for mac in macs_of(one)]
        known = {row["mac"] for row in await self._db.fetch(Q["known_macs"], macs)}
        seen = seen_at_ports([port["name"] for port in view.ports], neighbors, known)
        columns = [[one[place] for one in seen] for place in range(3)]
        await self._db.execute(Q["neighbors_seen"], self._leaf_id, *columns, self._parts.clock.now())
        await self._write_down(view, configuration, moment, epoch)
        if view.row.rendering != _rendering(view.desired):
            # A setting has changed, or this program: that is no port's change, and nobody has told of it.
            await raise_generation(self._db, self._leaf_id)

    async def _write_down(self, view: _View, configuration: Element, moment: datetime, epoch: int) -> None:
        """How the leaf was seen, and how much of that is not as it should be while nothing is under way there."""
        self._unseen, self._has_read = None, True
        text = to_xml(relevant(configuration, [port["name"] for port in view.ports]))
        pending = {port["name"] for port in view.pending}
        drift = drift_of(view.desired, configuration)
        drifted = [" ".join(one.key) for one in drift.objects if not one.ports or not pending.issuperset(one.ports)]
        sealed = seal(self._parts.key, text)
        await self._db.execute(Q["leaf_seen"], self._leaf_id, epoch, sealed, moment, len(drifted))
        if drifted and len(drifted) != view.row.drifted:
            log.warning("leaf_drifted", leaf=view.row.name, objects=drifted[:20], count=len(drifted))

    async def _connected(self, row: LeafRow, epoch: int) -> LeafSession:
        key = self._parts.key
        address = LeafAddress(
            row.host,
            row.port,
            row.username,
            open_sealed(key, row.secret),
            row.host_key,
            private_key="" if row.private_key is None else open_sealed(key, row.private_key),
            database=Database(row.database),
        )
        if self._session is not None and (address != self._address or not self._session.alive):
            await self._close()
        if self._session is None:
            self._opened, self._address = open_session(address), address
            self._session = await self._opened.__aenter__()
            await self._db.execute(Q["session_opened"], self._leaf_id, epoch, self._session.session_id)
        return self._session

    async def _close(self) -> None:
        if self._opened is not None:
            opened, self._opened, self._session = self._opened, None, None
            try:
                await opened.__aexit__(None, None, None)
            except Exception:
                log.info("leaf_session_not_closed", leaf_id=str(self._leaf_id), exc_info=True)


def _rendering(leaf: Leaf) -> str:
    """Digest of how ports are rendered on this leaf: it changes with settings, fabric and program, and with no port."""
    boot, public = IPv4Interface("192.0.2.0/31"), IPv4Interface("192.0.2.2/31")
    links = Link(LinkRole.BOOT, boot), Link(LinkRole.PUBLIC, public)
    samples = tuple(Port(f"xe-0/0/{number}", profile, links) for number, profile in enumerate(Profile))
    objects = desired_objects(replace(leaf, ports=samples, exempt=()))
    return hashlib.sha256(repr(sorted((key, to_xml(one)) for key, one in objects.items())).encode()).hexdigest()


async def run_leaf_actors(db: Pool, parts: Parts, hub: Hub) -> None:
    """An actor for every leaf, also for those that are enrolled later. Runs until cancelled."""
    holder = uuid4()
    actors: set[UUID] = set()
    async with asyncio.TaskGroup() as tasks, hub.watch("leaves") as watch:
        while True:
            try:
                found = {row["id"] for row in await db.fetch(Q["leaves"])}
            except AWAY as err:  # the leaves that are known are driven on when it is back
                log.warning("leaves_not_looked_for", error=str(err))
                found = set()
            for leaf_id in found - actors:
                actors.add(leaf_id)
                tasks.create_task(LeafActor(db, parts, hub, leaf_id, holder).run())
            await watch.changed(30)

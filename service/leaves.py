"""One actor a leaf: makes the leaf what the database says, again whenever that changes.

Level-triggered: an actor applies the whole desired state of its leaf, so that changes which come together share one
commit, a lost hint is found by the next look, and a crash between commit and database is repaired by looking again. A
port whose change the leaf refuses is left out, with the leaf's own reason, and holds nobody else up. Every process
runs the actors; the leaf's lease, with its epoch, lets one of them write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import UUID, uuid4

import structlog

from ipam.ledger import held_by_all
from netconf.desired import Leaf, Link, LinkRole, Port, Profile
from netconf.errors import NetconfError, Refused, Unreachable
from netconf.session import LeafAddress, LeafSession, open_session
from netconf.transaction import Applied, apply_all
from service.elastic import routes_seen
from service.parts import Parts
from service.secrets import open_sealed
from service.store.notify import Hub
from service.store.rows import Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_GATHER_S = 0.05  # what is ordered together shares a commit
_LOOK_S = 5.0  # between looks without a hint
_REFUSED_S = 30.0  # before the leaf is asked again for what it refused, unless something changes
_RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_LEASE = timedelta(seconds=15)
_ROLES = {
    "boot": LinkRole.BOOT,
    "public": LinkRole.PUBLIC,
    "private": LinkRole.PRIVATE,
    "ipv6": LinkRole.IPV6,
}


async def desired_leaf(conn: Connection, leaf_id: UUID, name: str, parts: Parts) -> tuple[Leaf, list[Any]]:
    """What the database says the leaf should be, with the port rows that it was read from."""
    rows = await conn.fetch(Q["ports_of_leaf"], leaf_id)
    owners = [row["id"] for row in rows] + [row["device_id"] for row in rows if row["device_id"]]
    held = await held_by_all(conn, owners)
    ports = []
    for row in rows:
        tenures = held[row["id"]] + (held[row["device_id"]] if row["device_id"] else [])
        links = tuple(sorted(Link(_ROLES[tenure.slot], tenure.leaf) for tenure in tenures if tenure.slot in _ROLES))
        owner = " ".join(part for part in (row["machine"], str(row["device_id"] or "")[:8]) if part)
        elastic = tuple(
            sorted((one.block for one in tenures if one.kind != "held"), key=lambda block: (block.version, block))
        )
        ports.append(Port(row["name"], Profile(row["profile"]), links, row["generation"], owner, elastic))
    settings = parts.settings
    server = IPv4Address(settings.boot_host)
    mirrors = tuple(IPv4Network(prefix.strip()) for prefix in settings.mirrors.split(",") if prefix.strip())
    return Leaf(name, tuple(ports), (server,), (IPv4Network(f"{server}/32"),), mirrors), rows


class LeafActor:
    """The one writer of one leaf, as long as it holds the leaf's lease."""

    def __init__(self, db: Pool, parts: Parts, hub: Hub, leaf_id: UUID, holder: UUID) -> None:
        self._db = db
        self._parts = parts
        self._hub = hub
        self._leaf_id = leaf_id
        self._holder = holder
        self._session: LeafSession | None = None
        self._opened: Any = None

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        try:
            async with self._hub.watch(f"leaf:{self._leaf_id}") as watch:
                while True:
                    refused = False
                    try:
                        refused = await self._look()
                        failures = 0
                    except (NetconfError, OSError) as err:
                        failures += 1
                        log.warning("leaf_not_changed", leaf_id=str(self._leaf_id), error=str(err), failures=failures)
                        await self._close()
                    except Exception:
                        failures += 1
                        log.exception("leaf_actor_error", leaf_id=str(self._leaf_id))
                        await self._close()
                    pause = _REFUSED_S if refused else _LOOK_S
                    if failures:
                        pause = self._parts.jitter.around(_RETRY_S[min(failures, len(_RETRY_S)) - 1])
                    if await watch.changed(pause):
                        await asyncio.sleep(_GATHER_S)
        finally:
            await self._close()
            await self._db.execute(Q["release_leaf"], self._leaf_id, self._holder)

    async def _look(self) -> bool:
        """Make the leaf what it should be; True when it refused some ports."""
        epoch = await self._db.fetchval(Q["hold_leaf"], self._leaf_id, self._holder, _LEASE)
        if epoch is None:
            await self._close()
            return False
        row = await self._db.fetchrow(Q["leaf_by_id"], self._leaf_id)
        refused: set[tuple[UUID, int]] = set()
        while True:
            async with self._db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
                leaf, ports = await desired_leaf(conn, self._leaf_id, row["name"], self._parts)
            pending = {(port["id"], port["generation"]) for port in ports if port["applied"] < port["generation"]}
            if pending <= refused and row["state"] != "unknown":
                await routes_seen(self._db, self._leaf_id, now=self._parts.clock.now())
                return bool(pending)
            keeper = asyncio.create_task(self._keep_lease())
            try:
                applied = await self._apply(row, leaf, ports, epoch)
            finally:
                keeper.cancel()
            bad = [port for port in ports if port["name"] in applied.refused]
            refused = {(port["id"], port["generation"]) for port in bad}
            await self._mark(ports, applied, epoch)
            row = await self._db.fetchrow(Q["leaf_by_id"], self._leaf_id)
            log.info(
                "leaf_changed",
                leaf=row["name"],
                changed=applied.changed,
                seconds=round(applied.seconds, 3),
                ports=len(pending) - len(pending & refused),
                refused=sorted(applied.refused),
            )

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(_LEASE.total_seconds() / 3)
            await self._db.execute(Q["hold_leaf"], self._leaf_id, self._holder, _LEASE)

    async def _apply(self, row: Any, leaf: Leaf, ports: Sequence[Any], epoch: int) -> Applied:
        try:
            session = await self._connected(row)
            await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, "changing", None)
            limit = self._parts.settings.leaf_confirm_s
            return await apply_all(session, leaf, confirm_timeout_s=limit)
        except NetconfError as err:
            state = {Refused: "refused", Unreachable: "unreachable"}.get(type(err), "unreachable")
            await self._db.execute(Q["set_leaf_state"], self._leaf_id, epoch, state, str(err))
            if isinstance(err, Refused):
                await self._mark_faulty(ports, epoch, str(err))
            raise

    async def _connected(self, row: Any) -> LeafSession:
        if self._session is None:
            secret = open_sealed(self._parts.key, row["secret"])
            address = LeafAddress(row["host"], row["port"], row["username"], secret, row["host_key"])
            self._opened = open_session(address)
            self._session = await self._opened.__aenter__()
        return self._session

    async def _close(self) -> None:
        if self._opened is not None:
            opened, self._opened, self._session = self._opened, None, None
            try:
                await opened.__aexit__(None, None, None)
            except Exception:
                log.info("leaf_session_not_closed", leaf_id=str(self._leaf_id), exc_info=True)

    async def _mark(self, ports: Sequence[Any], applied: Applied, epoch: int) -> None:
        good = [port for port in ports if port["name"] not in applied.refused]
        ids, generations = [port["id"] for port in good], [port["generation"] for port in good]
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(applied.refused.items()))
        async with self._db.acquire() as conn, conn.transaction():
            rows = await conn.fetch(Q["mark_ports_applied"], epoch, ids, generations)
            state = "refused" if told else "in_sync"
            await conn.execute(Q["set_leaf_state"], self._leaf_id, epoch, state, told or None)
        await self._signal(rows)
        for port in ports:
            if (reason := applied.refused.get(port["name"])) is not None:
                await self._mark_faulty([port], epoch, reason)

    async def _mark_faulty(self, ports: Sequence[Any], epoch: int, fault: str) -> None:
        ids, generations = [port["id"] for port in ports], [port["generation"] for port in ports]
        await self._signal(await self._db.fetch(Q["mark_ports_faulty"], epoch, ids, generations, fault))

    async def _signal(self, rows: Sequence[Any]) -> None:
        """Wake the runs that wait for these ports: their devices' and their machines'."""
        on_ports = await self._db.fetch(Q["machines_on_ports"], [row["id"] for row in rows])
        subjects = [row["device_id"] for row in rows] + [row["id"] for row in on_ports]
        await signal_all(self._db, subjects, now=self._parts.clock.now())


async def run_leaf_actors(db: Pool, parts: Parts, hub: Hub) -> None:
    """An actor for every leaf, also for those that are enrolled later. Runs until cancelled."""
    holder = uuid4()
    actors: set[UUID] = set()
    async with asyncio.TaskGroup() as tasks, hub.watch("leaves") as watch:
        while True:
            for row in await db.fetch(Q["leaves"]):
                if row["id"] not in actors:
                    actors.add(row["id"])
                    tasks.create_task(LeafActor(db, parts, hub, row["id"], holder).run())
            await watch.changed(30)

"""What operators see of booting: the boot nodes, machines that were discovered, and cables in the wrong place."""

from __future__ import annotations

from service.admin import schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.policy import Right
from service.store.boot import boot_nodes, discoveries, wrong_cables


async def list_boot_nodes(call: Call) -> Body:
    """GET /admin/v1/boot-nodes: each process that answers machines, with what it has counted since it began"""
    now = call.api.clock.now()
    return {
        "boot_nodes": [
            {
                "id": str(one.id),
                "host": one.host,
                "pid": one.pid,
                "address": one.address,
                "state": "silent" if one.silent(now) else "alive",
                "started_at": stamp(one.started_at),
                "seen_at": stamp(one.seen_at),
                "ports": one.ports,
                "loaded_at": None if one.loaded_at is None else stamp(one.loaded_at),
                "counters": one.counters,
            }
            for one in await boot_nodes(call.db)
        ]
    }


async def list_discoveries(call: Call) -> Body:
    """GET /admin/v1/discoveries: machines that booted at a free port and wait there to be enrolled"""
    return {
        "discoveries": [
            {
                "leaf": one.leaf,
                "port": one.port,
                "facility": one.facility,
                "mac": one.mac,
                "state": one.state,
                "reason": one.reason,
                "state_since": stamp(one.state_since),
                "system": one.system,
                "cpu": one.cpu,
                "memory_bytes": one.memory_bytes,
                "disks_bytes": one.disks_bytes,
                "inventory": one.inventory,
                "first_seen_at": stamp(one.first_seen_at),
                "seen_at": stamp(one.seen_at),
            }
            for one in await discoveries(call.db)
        ]
    }


async def list_wrong_cables(call: Call) -> Body:
    """GET /admin/v1/wrong-cables: ports at which another machine booted last than the one recorded there"""
    return {
        "wrong_cables": [
            {
                "leaf": one.leaf,
                "port": one.port,
                "machine": one.machine,
                "mac": one.mac,
                "seen_mac": one.seen_mac,
                "seen_machine": one.home_machine,
                "finding": one.sentence,
            }
            for one in await wrong_cables(call.db)
        ]
    }


ROUTES = (
    Route(
        "GET", "/admin/v1/boot-nodes", list_boot_nodes, right=Right.LOOK, objects="boot_nodes", answer=schemas.BootNode
    ),
    Route(
        "GET",
        "/admin/v1/discoveries",
        list_discoveries,
        right=Right.LOOK,
        objects="discoveries",
        answer=schemas.Discovery,
    ),
    Route(
        "GET",
        "/admin/v1/wrong-cables",
        list_wrong_cables,
        right=Right.LOOK,
        objects="wrong_cables",
        answer=schemas.WrongCable,
    ),
)

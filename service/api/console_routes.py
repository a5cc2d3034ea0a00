"""Where the serial console of a device or a machine is, and who is at one."""

from __future__ import annotations

from service.admin import hardware_schemas
from service.api import device_schemas
from service.api.call import Body, Call, Route
from service.api.device_view import scenery_of
from service.api.links import stamp
from service.api.problems import Refused, not_found
from service.policy import Right
from service.sos.server import public_host_key
from service.store.console import SILENCE
from service.store.orders import devices
from sql.loader import Q


async def _console(call: Call, user: str, facility: str) -> Body:
    settings = call.api.settings
    host = (await scenery_of(call)).console_host(facility)
    if host is None:
        raise Refused(404, "Not found: no consoles are served here (sos_port is 0)")
    port = "" if settings.sos_port == 22 else f"-p {settings.sos_port} "
    return {
        "user": user,
        "host": host,
        "port": settings.sos_port,
        "host_key": await public_host_key(call.db, call.api.key),
        "command": f"ssh {port}{user}@{host}",
    }


async def device_console(call: Call) -> Body:
    """GET /devices/{device}/console: where its serial console is by SSH, and the host key to expect there"""
    device_id = call.id("device")
    found = await devices(call.db, call.caller, [device_id])
    if not found:
        raise not_found()
    offers = await call.api.offers()
    facility = next(one.code for one in offers.facilities if one.id == found[0].order.facility_id)
    return await _console(call, str(device_id), facility)


async def machine_console(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/console: where its serial console is, for a staff user's own SSH keys"""
    row = await call.db.fetchrow(Q["machine_for_console"], call.ids["machine"])
    if row is None:
        raise not_found()
    return await _console(call, row["name"], row["facility"])


async def list_sessions(call: Call) -> Body:
    """GET /admin/v1/console-sessions: who is at a serial console now, and who was there last; the latest first"""
    rows = await call.db.fetch(Q["console_sessions"], call.api.clock.now() - SILENCE)
    return {
        "sessions": [
            {
                "id": str(row["id"]),
                "machine": row["machine"],
                "device_id": None if row["device_id"] is None else str(row["device_id"]),
                "user": row["email"],
                "fingerprint": row["fingerprint"],
                "source": row["source"],
                "keyboard": row["writes"] and row["open"],
                "wrote": row["wrote"],
                "open": row["open"],
                "started_at": stamp(row["started_at"]),
                "ended_at": None if row["open"] else stamp(row["ended_at"] or row["seen_at"]),
            }
            for row in rows
        ]
    }


async def forget_host_key(call: Call) -> None:
    """DELETE /admin/v1/machines/{machine}/bmc-host-key: take the SSH host key that its BMC shows next"""
    row = await call.db.fetchrow(Q["machine_for_console"], call.ids["machine"])
    if row is None:
        raise not_found()
    await call.db.execute(Q["forget_bmc_host_key"], row["id"])


ROUTES = (
    Route(
        "GET",
        "/devices/{device}/console",
        device_console,
        right=Right.VIEW,
        addition=True,
        answer=device_schemas.ConsoleAt,
    ),
    Route(
        "GET",
        "/admin/v1/machines/{machine}/console",
        machine_console,
        right=Right.LOOK,
        answer=device_schemas.ConsoleAt,
    ),
    Route(
        "GET",
        "/admin/v1/console-sessions",
        list_sessions,
        right=Right.LOOK,
        objects="sessions",
        answer=hardware_schemas.ConsoleSession,
    ),
    Route("DELETE", "/admin/v1/machines/{machine}/bmc-host-key", forget_host_key, status=204, right=Right.FACILITY),
)

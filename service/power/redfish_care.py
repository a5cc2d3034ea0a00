"""What operators want of a Redfish service beside power: evidence of faults, the LED, the BMC itself, its passwords.

A service leaves out what it likes (DSP0266 §9); whatever it does not have is missing in the evidence, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from service.power.errors import BmcRefused

if TYPE_CHECKING:
    from service.power.redfish import Body, Redfish

_ENTRIES = 200  # of each log, the newest
_MEMBERS = 500  # of any other collection


async def evidence(redfish: Redfish) -> dict[str, Any]:
    """Health, sensors, logs and firmware, as the BMC tells them now. Raises BmcUnreachable, BmcRefused."""
    url = await redfish.system()
    system = await redfish.read(url)
    managers = [one async for one in _linked(redfish, system, "ManagedBy")]
    chassis = [one async for one in _linked(redfish, system, "Chassis")]
    found: dict[str, Any] = {
        "driver": "redfish",
        "power": system.get("PowerState"),
        "system": _some(system, "Manufacturer", "Model", "SerialNumber", "BiosVersion"),
        "health": {"system": _health(system), **{f"chassis {one.get('Id')}": _health(one) for one in chassis}},
        "bmc": [_some(one, "Name", "Model", "FirmwareVersion", "DateTime") for one in managers],
        "sensors": [one for body in chassis for one in await _sensors(redfish, body)],
        "log": [],
        "firmware": [
            _some(one, "Name", "Version", "Id")
            async for one in _members(redfish, "/redfish/v1/UpdateService/FirmwareInventory", _MEMBERS)
        ],
    }
    for body in (system, *managers):
        async for service in _members(redfish, _link(body, "LogServices"), _MEMBERS):
            entries = _members(redfish, _link(service, "Entries"), _ENTRIES)
            found["log"] += [_entry(service, one) async for one in entries]
    return found


async def locate(redfish: Redfish, on: bool) -> None:
    """Have the machine's LED blink, or not, and read it back. Raises PowerError's children."""
    url = await redfish.system()
    system = await redfish.read(url)
    resources = [(url, system)]
    resources += [(str(one.get("@odata.id")), one) async for one in _linked(redfish, system, "Chassis")]
    for where, body in resources:
        if "LocationIndicatorActive" in body:
            wanted: dict[str, Any] = {"LocationIndicatorActive": on}
        elif "IndicatorLED" in body:
            wanted = {"IndicatorLED": "Blinking" if on else "Off"}
        else:
            continue
        await redfish.change(where, wanted)
        await redfish.until(partial(_shows, wanted), f"LED {'on' if on else 'off'}", where)
        return
    raise BmcRefused("this BMC has no LED to find the machine by")


async def reset_bmc(redfish: Redfish) -> None:
    """Restart the BMC itself; the machine runs on. It answers nobody for a minute or more.

    Raises PowerError's children; BmcRefused where the service names no manager.
    """
    system = await redfish.read(await redfish.system())
    async for manager in _linked(redfish, system, "ManagedBy"):
        action = manager.get("Actions", {}).get("#Manager.Reset", {})
        target = action.get("target", f"{manager['@odata.id']}/Actions/Manager.Reset")
        allowed = action.get("ResetType@Redfish.AllowableValues") or ["GracefulRestart"]
        kind = next((one for one in ("GracefulRestart", "ForceRestart") if one in allowed), allowed[0])
        await redfish.post(target, {"ResetType": kind})
        return
    raise BmcRefused("this service names no manager of the machine")


async def change_password(redfish: Redfish, new: str) -> None:
    """Give the user that we are another password. Whether it holds is shown by a login alone.

    Raises PowerError's children; BmcRefused where no account is ours.
    """
    async for account in _members(redfish, "/redfish/v1/AccountService/Accounts", _MEMBERS):
        if account.get("UserName") == redfish.username:
            await redfish.change(str(account["@odata.id"]), {"Password": new})
            return
    raise BmcRefused(f"this BMC lists no account {redfish.username}")


def _shows(wanted: Body, body: Body) -> bool:
    return wanted.items() <= body.items()


def _link(body: Body, name: str) -> str | None:
    part = body.get(name)
    link = part.get("@odata.id") if isinstance(part, dict) else None
    return link if isinstance(link, str) else None


async def _linked(redfish: Redfish, body: Body, name: str) -> AsyncIterator[Body]:
    for one in body.get("Links", {}).get(name) or ():
        if (found := await _maybe(redfish, one.get("@odata.id"))) is not None:
            yield found


async def _maybe(redfish: Redfish, url: str | None) -> Body | None:
    """A resource, or None where the service has none."""
    try:
        return None if url is None else await redfish.read(url)
    except BmcRefused:
        return None


async def _members(redfish: Redfish, url: str | None, most: int) -> AsyncIterator[Body]:
    """A collection's members, page by page; some services give them whole, others as links."""
    seen = 0
    while (page := await _maybe(redfish, url)) is not None:
        for member in page.get("Members") or ():
            whole = member if len(member) > 1 else await _maybe(redfish, member.get("@odata.id"))
            if whole is not None and seen < most:
                seen += 1
                yield whole
        following = page.get("Members@odata.nextLink")
        if not isinstance(following, str) or following == url or seen >= most:
            return
        url = following


def _some(body: Body, *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names if body.get(name) is not None}


def _health(body: Body) -> str | None:
    status = body.get("Status") or {}
    return status.get("HealthRollup") or status.get("Health")


_READINGS = (  # of the resources that came before the collection of sensors: list, its value, its unit
    ("Thermal", "Temperatures", "ReadingCelsius", "°C"),
    ("Thermal", "Fans", "Reading", None),
    ("Power", "Voltages", "ReadingVolts", "V"),
    ("Power", "PowerSupplies", "LastPowerOutputWatts", "W"),
)


async def _sensors(redfish: Redfish, chassis: Body) -> list[dict[str, Any]]:
    found = [
        {"name": one.get("Name"), "value": one.get("Reading"), "unit": one.get("ReadingUnits"), "health": _health(one)}
        async for one in _members(redfish, _link(chassis, "Sensors"), _MEMBERS)
    ]
    read = {
        name: await _maybe(redfish, _link(chassis, name) or f"{chassis.get('@odata.id')}/{name}")
        for name in ("Thermal", "Power")
    }
    for resource, part, value, unit in _READINGS:
        for one in (read[resource] or {}).get(part) or ():
            unit_here = unit or one.get("ReadingUnits")
            found.append({"name": one.get("Name"), "value": one.get(value), "unit": unit_here, "health": _health(one)})
    return found


def _entry(service: Body, one: Body) -> dict[str, Any]:
    return {
        "log": service.get("Id"),
        "id": one.get("Id"),
        "at": one.get("Created"),
        "severity": one.get("Severity"),
        "message": one.get("Message"),
    }

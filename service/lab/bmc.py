"""The virtual rack's BMCs: a Redfish service over HTTP in front of each machine (DMTF DSP0266, DSP0268)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web

from service.lab.bmc_care import BmcCare, links, opens_without_login
from service.lab.bmc_console import BmcConsole, entry_command
from service.lab.console import SerialLine
from service.lab.parts import BootSource, PowerTarget

log = structlog.get_logger()

_SYSTEMS = "/redfish/v1/Systems"
_RESETS = ("On", "ForceOff", "ForceRestart", "GracefulShutdown")
_SOURCES: dict[str, BootSource] = {"None": "none", "Pxe": "pxe", "Hdd": "disk"}
_ENABLED = ("Disabled", "Once", "Continuous")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a BMC's calls must carry (HTTP Basic)."""

    username: str
    password: str = field(repr=False)


@dataclass(slots=True)
class BmcFaults:
    """What is wrong with one BMC; to be set at any moment."""

    unreachable: bool = False  # the connection ends without an answer
    ignores_resets: bool = False  # says yes, does nothing
    ignores_boot_source: bool = False  # says yes, and keeps the old one
    shows_power: str | None = None  # a PowerState that is shown whatever the truth
    answer_s: float = 0.0  # before each answer
    power_s: float = 0.0  # from a reset's answer to its effect
    no_console: bool = False  # it offers none


@dataclass(slots=True)
class _Bmc:
    target: PowerTarget
    faults: BmcFaults = field(default_factory=BmcFaults)
    enabled: str = "Disabled"
    source: str = "None"
    led: str = "Off"
    moving: asyncio.Task[None] | None = None  # the reset under way


class VirtualBmc:
    """Many machines' BMCs behind one port: /redfish/v1/Systems/NAME for each."""

    def __init__(
        self,
        targets: Iterable[PowerTarget],
        host: str,
        port: int,
        credentials: Credentials,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Port 0 takes a free one; `url` tells which."""
        self._bmcs = {target.name: _Bmc(target) for target in targets}
        self._host, self._port = host, port
        self._tls = tls
        self.care = BmcCare(credentials.username, credentials.password)
        self._runner: web.AppRunner | None = None
        self.console = BmcConsole(host, credentials.username, credentials.password, self._line)

    async def __aenter__(self) -> VirtualBmc:
        """Raises OSError where the port cannot be had."""
        app = web.Application(middlewares=[self._guarded])
        app.add_routes(
            [
                web.get("/redfish/v1", self._root),
                web.get("/redfish/v1/", self._root),
                web.get(_SYSTEMS, self._systems),
                web.get(_SYSTEMS + "/{name}", self._system),
                web.get(_SYSTEMS + "/{name}/EthernetInterfaces", self._cards),
                web.get(_SYSTEMS + "/{name}/EthernetInterfaces/1", self._card),
                web.patch(_SYSTEMS + "/{name}", self._patch),
                web.post(_SYSTEMS + "/{name}/Actions/ComputerSystem.Reset", self._reset),
            ]
        )
        app.add_routes(self.care.routes(_error))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]
        await self.console.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        moving = [bmc.moving for bmc in self._bmcs.values() if bmc.moving is not None]
        for task in moving:
            task.cancel()
        await asyncio.gather(*moving, return_exceptions=True)
        await self.console.__aexit__(*_)
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The service's base URL."""
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self._port}"

    def system_url(self, name: str) -> str:
        """Where one machine's BMC is."""
        return f"{self.url}{_SYSTEMS}/{name}"

    def faults(self, name: str) -> BmcFaults:
        """What is wrong with one machine's BMC."""
        return self._bmcs[name].faults

    def add(self, target: PowerTarget) -> None:
        """Put another machine behind this service."""
        self._bmcs[target.name] = _Bmc(target)

    def _line(self, name: str) -> SerialLine | None:
        bmc = self._bmcs.get(name)
        return None if bmc is None or bmc.faults.no_console else bmc.target.console

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        bmc = self._bmcs.get(request.match_info.get("name", ""))
        if bmc is not None:
            if bmc.faults.unreachable:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=503)
            await asyncio.sleep(bmc.faults.answer_s)
        if not opens_without_login(request.method, request.path) and not self._allowed(request):
            return _error(401, "Base.1.0.NoValidSession", {"WWW-Authenticate": 'Basic realm="BMC"'})
        answer: web.StreamResponse = await handler(request)
        return answer

    def _allowed(self, request: web.Request) -> bool:
        if request.headers.get("X-Auth-Token", "") in self.care.tokens:
            return True
        wanted = f"{self.care.username}:{self.care.password}".encode()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return (
            self.care.basic
            and scheme.lower() == "basic"
            and hmac.compare_digest(base64.b64encode(wanted), given.strip().encode())
        )

    async def _root(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "@odata.id": "/redfish/v1",
                "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot",
                "Id": "RootService",
                "Name": "Root Service",
                "RedfishVersion": "1.6.0",
                "Systems": {"@odata.id": _SYSTEMS},
            }
        )

    async def _systems(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "@odata.id": _SYSTEMS,
                "@odata.type": "#ComputerSystemCollection.ComputerSystemCollection",
                "Name": "Computer System Collection",
                "Members@odata.count": len(self._bmcs),
                "Members": [{"@odata.id": f"{_SYSTEMS}/{name}"} for name in self._bmcs],
            }
        )

    async def _system(self, request: web.Request) -> web.Response:
        bmc = self._bmcs.get(request.match_info["name"])
        if bmc is None:
            return _error(404, "Base.1.0.ResourceMissingAtURI")
        body = _shown(bmc)
        etag = _etag(body)
        if not bmc.faults.no_console:
            body["SerialConsole"] = _serial_console(bmc.target.name, self.console.port)
        return web.json_response(body, headers={"ETag": etag})

    async def _cards(self, request: web.Request) -> web.Response:
        path = f"{_SYSTEMS}/{request.match_info['name']}/EthernetInterfaces"
        return web.json_response(
            {
                "@odata.id": path,
                "@odata.type": "#EthernetInterfaceCollection.EthernetInterfaceCollection",
                "Name": "Ethernet Interface Collection",
                "Members@odata.count": 1,
                "Members": [{"@odata.id": f"{path}/1"}],
            }
        )

    async def _card(self, request: web.Request) -> web.Response:
        bmc = self._bmcs.get(request.match_info["name"])
        if bmc is None:
            return _error(404, "Base.1.0.ResourceMissingAtURI")
        return web.json_response(
            {
                "@odata.id": request.path,
                "@odata.type": "#EthernetInterface.v1_4_0.EthernetInterface",
                "Id": "1",
                "Name": "Ethernet Interface",
                "MACAddress": bmc.target.mac,
                "PermanentMACAddress": bmc.target.mac,
            }
        )

    async def _patch(self, request: web.Request) -> web.Response:
        bmc = self._bmcs.get(request.match_info["name"])
        if bmc is None:
            return _error(404, "Base.1.0.ResourceMissingAtURI")
        if request.headers.get("If-Match", _etag(_shown(bmc))) not in (_etag(_shown(bmc)), "*"):
            return _error(412, "Base.1.0.PreconditionFailed")
        try:
            body = await request.json()
            if "IndicatorLED" in body:
                bmc.led = str(body["IndicatorLED"])
                return web.Response(status=204)
            boot = body["Boot"]
            enabled = boot.get("BootSourceOverrideEnabled", bmc.enabled)
            source = boot.get("BootSourceOverrideTarget", bmc.source)
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "Base.1.0.MalformedJSON")
        if enabled not in _ENABLED or source not in _SOURCES:
            return _error(400, "Base.1.0.PropertyValueNotInList")
        if not bmc.faults.ignores_boot_source:
            bmc.enabled, bmc.source = enabled, source
        return web.Response(status=204)

    async def _reset(self, request: web.Request) -> web.Response:
        bmc = self._bmcs.get(request.match_info["name"])
        if bmc is None:
            return _error(404, "Base.1.0.ResourceMissingAtURI")
        try:
            kind = (await request.json())["ResetType"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "Base.1.0.MalformedJSON")
        if kind not in _RESETS:
            return _error(400, "Base.1.0.ActionParameterNotSupported")
        if bmc.moving is not None and not bmc.moving.done():
            return _error(503, "Base.1.0.ServiceTemporarilyUnavailable")
        if kind == "ForceRestart" and not bmc.target.powered:
            return _error(409, "Base.1.0.ResourceInUse")
        if not bmc.faults.ignores_resets:
            bmc.moving = asyncio.create_task(_move(bmc, kind))
        return web.Response(status=204)


async def _move(bmc: _Bmc, kind: str) -> None:
    await asyncio.sleep(bmc.faults.power_s)
    log.debug("bmc_reset", machine=bmc.target.name, kind=kind)
    if kind != "On":
        await bmc.target.power_off()
    if kind in ("On", "ForceRestart") and not bmc.target.powered:
        boot = _SOURCES[bmc.source] if bmc.enabled != "Disabled" else "none"
        if bmc.enabled == "Once":
            bmc.enabled, bmc.source = "Disabled", "None"
        await bmc.target.power_on(boot)


def _shown(bmc: _Bmc) -> dict[str, Any]:
    path = f"{_SYSTEMS}/{bmc.target.name}"
    return {
        "@odata.id": path,
        "@odata.type": "#ComputerSystem.v1_10_0.ComputerSystem",
        "Id": bmc.target.name,
        "Name": bmc.target.name,
        "EthernetInterfaces": {"@odata.id": f"{path}/EthernetInterfaces"},
        "PowerState": bmc.faults.shows_power or ("On" if bmc.target.powered else "Off"),
        "IndicatorLED": bmc.led,
        "Links": links(),
        "Boot": {
            "BootSourceOverrideEnabled": bmc.enabled,
            "BootSourceOverrideTarget": bmc.source,
            "BootSourceOverrideTarget@Redfish.AllowableValues": list(_SOURCES),
        },
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{path}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": list(_RESETS),
            }
        },
    }


def _serial_console(name: str, port: int) -> dict[str, Any]:
    """As ComputerSystem.v1_13_0 (DSP0268) has it: by SSH to the BMC's own shell, and a command there."""
    return {
        "MaxConcurrentSessions": 1,
        "SSH": {
            "ServiceEnabled": True,
            "Port": port,
            "SharedWithManagerCLI": True,
            "ConsoleEntryCommand": entry_command(name),
        },
    }


def _etag(body: dict[str, Any]) -> str:
    return f'"{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:16]}"'


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"code": message, "message": message.rpartition(".")[2], "@Message.ExtendedInfo": []}}
    return web.json_response(body, status=status, headers=headers)

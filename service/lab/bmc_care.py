"""What the virtual BMC offers beside power (DMTF DSP0266): sessions, accounts, sensors, logs, firmware, restart."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]
_ROOT = "/redfish/v1"
_ACCOUNT = f"{_ROOT}/AccountService/Accounts/1"
_SESSIONS = f"{_ROOT}/SessionService/Sessions"
_MANAGER = f"{_ROOT}/Managers/1"
_LOG = f"{_MANAGER}/LogServices/Sel"


@dataclass(slots=True)
class Entry:
    """A line of the system event log."""

    at: str  # RFC 3339
    severity: str  # "OK", "Warning" or "Critical"
    message: str


@dataclass(slots=True)
class BmcCare:
    """The service's state that all its machines share; to be looked at and changed at any moment."""

    username: str
    password: str = field(repr=False)
    basic: bool = True  # False: only sessions are taken
    forgets_password: bool = False  # says yes to a new one, and keeps the old
    log: list[Entry] = field(default_factory=list)
    celsius: float = 31.0
    restarts: int = 0
    tokens: dict[str, str] = field(default_factory=dict)  # id by token

    def routes(self, guarded_error: Callable[[int, str], web.Response]) -> list[web.RouteDef]:
        """For the BMC's application; `guarded_error` words a refusal."""

        async def log_in(request: web.Request) -> web.Response:
            try:
                body = await request.json()
                given = body["UserName"], body["Password"]
            except (ValueError, KeyError, TypeError):
                return guarded_error(400, "Base.1.0.MalformedJSON")
            if given != (self.username, self.password):
                return guarded_error(401, "Base.1.0.NoValidSession")
            token, number = secrets.token_hex(16), secrets.token_hex(4)
            self.tokens[token] = number
            headers = {"X-Auth-Token": token, "Location": f"{_SESSIONS}/{number}"}
            return web.json_response({"@odata.id": headers["Location"], "Id": number}, status=201, headers=headers)

        async def log_out(request: web.Request) -> web.Response:
            gone = [token for token, number in self.tokens.items() if number == request.match_info["session"]]
            for token in gone:
                del self.tokens[token]
            return web.Response(status=204 if gone else 404)

        async def change_account(request: web.Request) -> web.Response:
            try:
                new = (await request.json())["Password"]
            except (ValueError, KeyError, TypeError):
                return guarded_error(400, "Base.1.0.MalformedJSON")
            if not self.forgets_password:
                self.password = str(new)
            return web.Response(status=204)

        async def restart(_request: web.Request) -> web.Response:
            self.restarts += 1
            self.tokens.clear()
            return web.Response(status=204)

        def shown(body: Callable[[], Body]) -> Callable[[web.Request], Any]:
            async def answer(request: web.Request) -> web.Response:
                return web.json_response({"@odata.id": request.path, **body()})

            return answer

        resources: dict[str, Callable[[], Body]] = {
            f"{_ROOT}/AccountService/Accounts": lambda: _members(_ACCOUNT),
            _ACCOUNT: lambda: {"Id": "1", "UserName": self.username, "Password": None},
            _MANAGER: lambda: {
                "Id": "1",
                "Name": "BMC",
                "FirmwareVersion": "2.71",
                "LogServices": {"@odata.id": f"{_MANAGER}/LogServices"},
                "Actions": {
                    "#Manager.Reset": {
                        "target": f"{_MANAGER}/Actions/Manager.Reset",
                        "ResetType@Redfish.AllowableValues": ["ForceRestart"],
                    }
                },
            },
            f"{_MANAGER}/LogServices": lambda: _members(_LOG),
            _LOG: lambda: {"Id": "Sel", "Entries": {"@odata.id": f"{_LOG}/Entries"}},
            f"{_LOG}/Entries": lambda: {
                "Members": [
                    {"Id": str(number), "Created": one.at, "Severity": one.severity, "Message": one.message}
                    for number, one in enumerate(self.log, start=1)
                ]
            },
            f"{_ROOT}/Chassis/1": lambda: {
                "Id": "1",
                "Status": {"Health": "OK" if self.celsius < 70 else "Critical"},
                "Sensors": {"@odata.id": f"{_ROOT}/Chassis/1/Sensors"},
            },
            f"{_ROOT}/Chassis/1/Sensors": lambda: {
                "Members": [{"Name": "Inlet", "Reading": self.celsius, "ReadingUnits": "Cel", "Status": {}}]
            },
            f"{_ROOT}/UpdateService/FirmwareInventory": lambda: {
                "Members": [{"Id": "BIOS", "Name": "System BIOS", "Version": "1.4.2"}]
            },
        }
        return [
            *(web.get(path, shown(body)) for path, body in resources.items()),
            web.post(_SESSIONS, log_in),
            web.delete(f"{_SESSIONS}/{{session}}", log_out),
            web.patch(_ACCOUNT, change_account),
            web.post(f"{_MANAGER}/Actions/Manager.Reset", restart),
        ]


def opens_without_login(method: str, path: str) -> bool:
    """The service root, and the login itself (DSP0266 §13.2.3)."""
    return path.rstrip("/") == _ROOT or (method == "POST" and path == _SESSIONS)


def links() -> Body:
    """What a system tells of where its care is."""
    return {"Chassis": [{"@odata.id": f"{_ROOT}/Chassis/1"}], "ManagedBy": [{"@odata.id": _MANAGER}]}


def _members(*paths: str) -> Body:
    return {"Members": [{"@odata.id": path} for path in paths], "Members@odata.count": len(paths)}

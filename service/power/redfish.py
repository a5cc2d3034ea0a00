"""A Redfish client for what provisioning needs: power and the next boot, each read back (DMTF DSP0266).

A BMC's "204 No Content" is a promise. Nothing here returns before the BMC shows the state that was asked for.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from service.power.console import SshConsole, ssh_console
from service.power.errors import BmcLied, BmcRefused, BmcUnreachable

log = structlog.get_logger()

PowerState = Literal["on", "off"]
ResetType = Literal["On", "ForceOff", "ForceRestart", "GracefulShutdown"]
BootTarget = Literal["pxe", "disk"]

_TARGETS = {"pxe": "Pxe", "disk": "Hdd"}
# What a BMC that is busy, starting, or asked too often says; the same call is good a moment later.
_PASSING = (429, 500, 502, 503, 504)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Mapping[str, Any]
    etag: str | None


class Redfish:
    """One machine behind a Redfish service; `async with` closes its connections."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        verify_tls: bool = True,
        *,
        timeout_s: float = 10.0,
        deadline_s: float = 60.0,
        poll_s: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`url` is the service (its only system is taken) or the system itself (".../redfish/v1/Systems/NAME").

        `timeout_s` is the time for one exchange, `deadline_s` for a state to be shown after it was asked for.
        """
        self._url = url.rstrip("/")
        basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}"}
        self._ssl = verify_tls
        self._timeout = ClientTimeout(total=timeout_s)
        self._deadline_s = deadline_s
        self._poll_s = poll_s
        self._sleep = sleep
        self._session: ClientSession | None = None
        self._system: str | None = self._url if "/Systems/" in urlsplit(self._url).path else None

    async def __aenter__(self) -> Redfish:
        self._session = ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def power_state(self) -> PowerState | None:
        """What the BMC shows; None while the machine is between the two. Raises PowerError's children."""
        return _power((await self._read(await self._system_url())).body)

    async def power_on(self) -> None:
        """Turn the machine on, and return when it is shown to be on. Raises PowerError's children."""
        await self._switch("On", "on")

    async def power_off(self) -> None:
        """Cut the machine's power, and return when it is shown to be off. Raises PowerError's children."""
        await self._switch("ForceOff", "off")

    async def power_cycle(self) -> None:
        """Off, seen, on, seen: a ForceRestart could not be told from one that was ignored. Raises as power_on does."""
        await self.power_off()
        await self.power_on()

    async def reset(self, kind: ResetType) -> None:
        """Ask for a reset without waiting for what comes of it. Raises BmcUnreachable, BmcRefused."""
        system = await self._system_url()
        body = (await self._read(system)).body
        action = body.get("Actions", {}).get("#ComputerSystem.Reset", {})
        target = urljoin(system, action.get("target", f"{urlsplit(system).path}/Actions/ComputerSystem.Reset"))
        allowed = action.get("ResetType@Redfish.AllowableValues")
        if allowed is not None and kind not in allowed:
            raise BmcRefused(f"this BMC knows no {kind}, only {', '.join(allowed)}")
        await self._exchange("POST", target, json={"ResetType": kind})

    async def set_boot_once(self, target: BootTarget) -> None:
        """Choose the boot source of the next start, and read it back. Raises PowerError's children."""
        system = await self._system_url()
        wanted = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": _TARGETS[target]}
        for last in (False, True):
            etag = (await self._read(system)).etag
            # Some BMCs demand If-Match, others answer it with 412 as soon as a sensor has changed.
            headers = {"If-Match": etag} if etag is not None else {}
            answer = await self._exchange("PATCH", system, json={"Boot": wanted}, headers=headers, accept=(412,))
            if answer.status != 412:
                break
            if last:
                raise BmcRefused("the BMC's resource changes under every PATCH (412)")

        def shown(body: Mapping[str, Any]) -> bool:
            boot = body.get("Boot", {})
            return all(boot.get(name) == value for name, value in wanted.items())

        await self._until(shown, f"boot source {target}")

    async def serial_console(self) -> SshConsole | None:
        """Where the serial console is; None where the BMC offers none by SSH. Raises PowerError's children."""
        return ssh_console((await self._read(await self._system_url())).body)

    async def _switch(self, kind: ResetType, wanted: PowerState) -> None:
        if await self.power_state() == wanted:
            return
        await self.reset(kind)
        await self._until(lambda body: _power(body) == wanted, f"power {wanted}")
        log.info("power_switched", system=self._system, state=wanted)

    async def _until(self, shown: Callable[[Mapping[str, Any]], bool], what: str) -> None:
        """Read the system until it shows what was asked for. Raises BmcLied after the deadline."""
        system = await self._system_url()
        waited = 0.0
        while not shown((await self._read(system)).body):
            if waited >= self._deadline_s:
                raise BmcLied(f"{what} was accepted, and not seen within {self._deadline_s:.0f} s")
            await self._sleep(self._poll_s)
            waited += self._poll_s

    async def _system_url(self) -> str:
        if self._system is None:
            members = (await self._read(f"{self._url}/redfish/v1/Systems")).body.get("Members", [])
            if len(members) != 1:
                raise BmcRefused(f"this service has {len(members)} systems: the URL must name one")
            self._system = urljoin(self._url, members[0]["@odata.id"])
        return self._system

    async def _read(self, url: str) -> _Answer:
        return await self._exchange("GET", url)

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> _Answer:
        """One call, again where the fault may pass. Raises BmcUnreachable, BmcRefused."""
        assert self._session is not None, "used outside of its block"
        for attempt in range(_TRIES):
            try:
                async with self._session.request(method, url, json=json, headers=headers, ssl=self._ssl) as response:
                    if response.status >= 400 and response.status not in accept:
                        if response.status in _PASSING and attempt + 1 < _TRIES:
                            await self._sleep(self._poll_s)
                            continue
                        raise BmcRefused(f"{method} {url}: HTTP {response.status} {await _message(response)}")
                    body = await response.json(content_type=None) if method == "GET" else {}
                    return _Answer(response.status, body, response.headers.get("ETag"))
            except (ClientError, OSError, TimeoutError) as err:
                if attempt + 1 == _TRIES:
                    raise BmcUnreachable(f"{method} {url}: {err!r}") from err
                await self._sleep(self._poll_s)
            except ValueError as err:
                raise BmcRefused(f"{method} {url}: no JSON in the answer") from err
        raise AssertionError("the last try returns or raises")


def _power(body: Mapping[str, Any]) -> PowerState | None:
    match body.get("PowerState"):
        case "On":
            return "on"
        case "Off":
            return "off"
        case _:  # PoweringOn, PoweringOff, Paused, null while the BMC starts
            return None


async def _message(response: Any) -> str:
    """The first line of a Redfish error, empty where there is none."""
    try:
        body = await response.json(content_type=None)
        return str(body["error"].get("message", ""))[:200]
    except (ClientError, ValueError, KeyError, TypeError, AttributeError):
        return ""

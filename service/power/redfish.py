"""A Redfish client for what provisioning needs: power and the next boot, each read back (DMTF DSP0266).

A BMC's "204 No Content" is a promise. Nothing here returns before the BMC shows the state that was asked for.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, Fingerprint, ServerFingerprintMismatch

from service.power import redfish_care
from service.power.console import SshConsole, ssh_console
from service.power.errors import BmcChanged, BmcLied, BmcLoginRefused, BmcRefused, BmcUnreachable
from service.power.quirks import IF_MATCH, RESETS, Quirk, if_match, quirk_of

log = structlog.get_logger()

PowerState = Literal["on", "off"]
ResetType = Literal["On", "ForceOn", "ForceOff", "ForceRestart", "GracefulShutdown"]
BootTarget = Literal["pxe", "disk"]
Body = Mapping[str, Any]

_TARGETS = {"pxe": "Pxe", "disk": "Hdd"}
# What a BMC that is busy, starting, or asked too often says; the same call is good a moment later.
_PASSING = (429, 500, 502, 503, 504)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a BMC answered."""

    status: int
    body: Body
    headers: Mapping[str, str]


class Redfish:
    """One machine behind a Redfish service; `async with` closes its connections, and its login where it needs one."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        fingerprint: str | None = None,
        *,
        timeout_s: float = 10.0,
        deadline_s: float = 60.0,
        poll_s: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`url` is the service (its only system is taken) or the system itself (".../redfish/v1/Systems/NAME").

        `fingerprint` is the SHA-256 of the certificate that must be shown, in hexadecimal; without one a certificate
        must be signed by an authority that this host trusts. `timeout_s` is the time for one exchange, `deadline_s`
        for a state to be shown after it was asked for.
        """
        self.username = username
        self._url = url.rstrip("/")
        self._password = password
        basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._login = {"Authorization": f"Basic {basic}"}
        self._login_url: str | None = None  # of the session, where Basic is refused
        self._ssl = True if fingerprint is None else Fingerprint(bytes.fromhex(fingerprint))
        self._timeout = ClientTimeout(total=timeout_s)
        self._deadline_s = deadline_s
        self._poll_s = poll_s
        self._sleep = sleep
        self._session: ClientSession | None = None
        self._system: str | None = self._url if "/Systems/" in urlsplit(self._url).path else None

    async def __aenter__(self) -> Redfish:
        self._session = ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is None:
            return
        if self._login_url is not None:  # a BMC has room for few of them
            with suppress(BmcRefused, BmcUnreachable, BmcChanged):
                await self._exchange("DELETE", self._login_url, accept=(401, 404))
        await self._session.close()
        self._session = None

    async def power_state(self) -> PowerState | None:
        """What the BMC shows; None while the machine is between the two. Raises PowerError's children."""
        return _power(await self.read(await self.system()))

    async def power_on(self) -> None:
        """Turn the machine on, and return when it is shown to be on. Raises PowerError's children."""
        await self._switch("on")

    async def power_off(self) -> None:
        """Cut the machine's power, and return when it is shown to be off. Raises PowerError's children."""
        await self._switch("off")

    async def power_cycle(self) -> None:
        """Off, seen, on, seen: a ForceRestart could not be told from one that was ignored. Raises as power_on does."""
        await self.power_off()
        await self.power_on()

    async def reset(self, *kinds: ResetType) -> None:
        """Ask for the first kind of reset that the BMC knows, without waiting for what comes of it.

        Raises BmcUnreachable, BmcRefused.
        """
        system = await self.system()
        action = (await self.read(system)).get("Actions", {}).get("#ComputerSystem.Reset", {})
        target = urljoin(system, action.get("target", f"{urlsplit(system).path}/Actions/ComputerSystem.Reset"))
        allowed = action.get("ResetType@Redfish.AllowableValues") or await self._allowed(system, action)
        known = [kind for kind in kinds if not allowed or kind in allowed]
        if not known:
            raise BmcRefused(f"this BMC knows no {' or '.join(kinds)}, only {', '.join(allowed)}")
        await self.post(target, {"ResetType": known[0]})

    async def _allowed(self, system: str, action: Body) -> list[str]:
        """What newer services tell in a resource of its own (DSP0266 §7.6.3, ActionInfo); empty where they do not."""
        link = action.get("@Redfish.ActionInfo")
        info = await self.read(urljoin(system, link)) if isinstance(link, str) else {}
        rows = [row for row in info.get("Parameters", []) if row.get("Name") == "ResetType"]
        return list(rows[0].get("AllowableValues", [])) if rows else []

    async def set_boot_once(self, target: BootTarget) -> None:
        """Choose the boot source of the next start, and read it back. Raises PowerError's children."""
        system = await self.system()
        body = await self.read(system)
        quirk = quirk_of(body.get("Manufacturer"))
        wanted = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": _TARGETS[target]}
        mode = body.get("Boot", {}).get("BootSourceOverrideMode") or quirk.mode
        try:
            await self.change(system, {"Boot": wanted | ({"BootSourceOverrideMode": mode} if mode else {})})
        except BmcRefused:
            if not mode or body.get("Boot", {}).get("BootSourceOverrideMode") is None:
                raise
            await self.change(system, {"Boot": wanted})  # the mode that it shows is not one that it takes
        await self.until(
            lambda shown: _boots(shown, wanted["BootSourceOverrideTarget"], quirk), f"boot source {target}"
        )

    async def serial_console(self) -> SshConsole | None:
        """Where the serial console is; None where the BMC offers none by SSH. Raises PowerError's children."""
        return ssh_console(await self.read(await self.system()))

    async def _switch(self, wanted: PowerState) -> None:
        if await self.power_state() == wanted:
            return
        await self.reset(*RESETS[wanted])  # type: ignore[arg-type]
        await self.until(lambda body: _power(body) == wanted, f"power {wanted}")
        log.info("power_switched", system=self._system, state=wanted)

    async def locate(self, on: bool) -> None:
        """Have the machine's LED blink, or not, and read it back. Raises PowerError's children."""
        await redfish_care.locate(self, on)

    async def evidence(self) -> dict[str, Any]:
        """Health, sensors, logs and firmware, as far as the BMC tells them. Raises BmcUnreachable, BmcRefused."""
        return await redfish_care.evidence(self)

    async def reset_bmc(self) -> None:
        """Restart the BMC itself; the machine runs on. It answers nobody for a minute or more."""
        await redfish_care.reset_bmc(self)

    async def change_password(self, new: str) -> None:
        """Give the user that we are another password. Whether it holds is shown by a login alone."""
        await redfish_care.change_password(self, new)

    async def until(self, shown: Callable[[Body], bool], what: str, url: str | None = None) -> None:
        """Read the system, or another resource, until it shows what was asked for. Raises BmcLied when it does not."""
        url = url or await self.system()
        waited = 0.0
        while not shown(await self.read(url)):
            if waited >= self._deadline_s:
                raise BmcLied(f"{what} was accepted, and not seen within {self._deadline_s:.0f} s")
            await self._sleep(self._poll_s)
            waited += self._poll_s

    async def system(self) -> str:
        """The URL of the machine's system. Raises BmcRefused where the service has several and none was named."""
        if self._system is None:
            members = (await self.read(f"{self._url}/redfish/v1/Systems")).get("Members", [])
            if len(members) != 1:
                raise BmcRefused(f"this service has {len(members)} systems: the URL must name one")
            self._system = urljoin(self._url, members[0]["@odata.id"])
        return self._system

    async def read(self, url: str) -> Body:
        """A resource; `url` may be a path. Raises BmcUnreachable, BmcRefused."""
        return (await self._exchange("GET", urljoin(self._url, url))).body

    async def post(self, url: str, body: Body) -> Answer:
        """An action, or a new resource. Raises BmcUnreachable, BmcRefused."""
        return await self._exchange("POST", urljoin(self._url, url), json=body)

    async def change(self, url: str, body: Body) -> None:
        """Change a resource. Raises BmcUnreachable, BmcRefused.

        Some BMCs demand If-Match, others answer it with 412 as soon as a sensor has changed, or never take their own.
        """
        url = urljoin(self._url, url)
        for form in IF_MATCH:
            etag = (await self._exchange("GET", url)).headers.get("ETag")
            headers = if_match(form, etag)
            if headers is None:
                continue
            answer = await self._exchange("PATCH", url, json=body, headers=headers, accept=(412, 428))
            if answer.status not in (412, 428):
                return
        raise BmcRefused("the BMC takes a change with no form of If-Match (412)")

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """One call, again where the fault may pass, and after a login where Basic is not taken."""
        answer = await self._tried(method, url, json, headers or {}, (*accept, 401))
        if answer.status == 401 and 401 not in accept:
            if self._login_url is None:
                await self._log_in()
                answer = await self._tried(method, url, json, headers or {}, (*accept, 401))
            if answer.status == 401:
                raise BmcLoginRefused(f"{method} {url}: HTTP 401: user {self.username} or its password is not right")
        return answer

    async def _log_in(self) -> None:
        """A session of DSP0266 §13.3.4, for services that refuse HTTP Basic."""
        body = {"UserName": self.username, "Password": self._password}
        url, self._login = urljoin(self._url, "/redfish/v1/SessionService/Sessions"), {}
        answer = await self._tried("POST", url, body, {}, (400, 401, 403, 404, 405))
        token = answer.headers.get("X-Auth-Token")
        if answer.status >= 400 or not token:
            why = f"HTTP {answer.status}" if answer.status >= 400 else "no X-Auth-Token"
            raise BmcLoginRefused(f"{url}: {why}, HTTP 401 by Basic: user {self.username} or its password is not right")
        self._login = {"X-Auth-Token": token}
        where = answer.headers.get("Location") or answer.body.get("@odata.id")
        self._login_url = urljoin(self._url, where) if where else None

    async def _tried(
        self, method: str, url: str, json: Any, headers: Mapping[str, str], accept: tuple[int, ...]
    ) -> Answer:
        assert self._session is not None, "used outside of its block"
        for attempt in range(_TRIES):
            try:
                async with self._session.request(
                    method, url, json=json, headers={**self._login, **headers}, ssl=self._ssl
                ) as response:
                    if response.status >= 400 and response.status not in accept:
                        if response.status in _PASSING and attempt + 1 < _TRIES:
                            await self._sleep(self._poll_s)
                            continue
                        raise BmcRefused(f"{method} {url}: HTTP {response.status} {await _message(response)}")
                    body = await _json(response) if response.status < 400 else {}
                    if method == "GET" and body is None:
                        raise BmcRefused(f"{method} {url}: no JSON in the answer")
                    return Answer(response.status, body or {}, response.headers)
            except ServerFingerprintMismatch as err:
                raise BmcChanged(
                    f"{urlsplit(url).netloc} shows the certificate {err.got.hex()} and not {err.expected.hex()}:"
                    " if the BMC was given a new one, say `roundhouse machine bmc-trust`"
                ) from None
            except (ClientError, OSError, TimeoutError) as err:
                if attempt + 1 == _TRIES:
                    raise BmcUnreachable(f"{method} {url}: {err!r}") from err
                await self._sleep(self._poll_s)
        raise AssertionError("the last try returns or raises")


def _power(body: Body) -> PowerState | None:
    match body.get("PowerState"):
        case "On":
            return "on"
        case "Off":
            return "off"
        case _:  # PoweringOn, PoweringOff, Paused, null while the BMC starts
            return None


def _boots(body: Body, target: str, quirk: Quirk) -> bool:
    boot = body.get("Boot", {})
    return boot.get("BootSourceOverrideTarget") == target and boot.get("BootSourceOverrideEnabled") in quirk.once_reads


async def _json(response: Any) -> Any:
    """The object in an answer; None where there is none."""
    with suppress(ValueError):
        body = await response.json(content_type=None)
        return body if isinstance(body, dict) else None
    return None


async def _message(response: Any) -> str:
    """The first line of a Redfish error, empty where there is none."""
    try:
        body = await response.json(content_type=None)
        return str(body["error"].get("message", ""))[:200]
    except (ClientError, ValueError, KeyError, TypeError, AttributeError):
        return ""

"""The agent's side of `images.protocol`: hello, work, progress, done, failed; with back-off."""

from __future__ import annotations

import json
import time

from images.agent import wire
from images.agent.errors import HelloRefused, SessionEnded, WorkDropped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from images.agent.cmdline import Arguments
    from images.protocol import Work

_WAIT_S = 25  # one long poll: below the idle limit of common proxies
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # then 10 s for ever: a machine in the pool must outlive any outage


class Session:
    """A greeted service. Made by `hello`."""

    def __init__(self, url: str, session: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {session}"}
        self._sleep = sleep

    def next_work(self) -> Work:
        """Wait until there is a piece of work. Raises SessionEnded."""
        while True:
            url = f"{self._url}/agent/v1/work?wait={_WAIT_S}"
            asked = time.monotonic()
            status, body = _insist("GET", url, self._headers, None, self._sleep, timeout_s=_WAIT_S + 15)
            if status == 200:
                work: Work = json.loads(body)
                return work
            if time.monotonic() - asked < 1:
                self._sleep(1)  # a service that does not hold the poll is not to be hammered

    def inventory(self, inventory: Mapping[str, Any]) -> None:
        """Tell more than the hello did, until it is heard. Raises SessionEnded; WorkDropped by a service of old."""
        url = f"{self._url}/agent/v1/inventory"
        body = {"inventory": inventory}
        _insist("POST", url, self._headers, body, self._sleep, droppable=True)

    def progress(self, work: str, report: Mapping[str, Any]) -> None:
        """Tell how far it is: once, for the next report will say more. Raises SessionEnded, WorkDropped, WireError."""
        url = f"{self._url}/agent/v1/work/{work}/progress"
        _check(_exchange("POST", url, self._headers, report, timeout_s=10)[0], droppable=True)

    def done(self, work: str, result: Mapping[str, Any]) -> None:
        """Tell the result until it is heard. Raises SessionEnded, WorkDropped."""
        self._tell(work, "done", {"result": result})

    def failed(self, work: str, stage: str, reason: str) -> None:
        """Tell the failure until it is heard. Raises SessionEnded, WorkDropped."""
        self._tell(work, "failed", {"stage": stage, "reason": reason})

    def _tell(self, work: str, what: str, body: Mapping[str, Any]) -> None:
        url = f"{self._url}/agent/v1/work/{work}/{what}"
        _insist("POST", url, self._headers, body, self._sleep, droppable=True)


def hello(arguments: Arguments, inventory: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep) -> Session:
    """Trade the boot token for a session; tried until the service answers. Raises HelloRefused (403)."""
    body = {"token": arguments.token, "mac": arguments.mac, "inventory": inventory}
    _, answer = _insist("POST", f"{arguments.url}/agent/v1/hello", {}, body, sleep)
    return Session(arguments.url, json.loads(answer)["session"], sleep)


def _exchange(
    method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None, *, timeout_s: float
) -> tuple[int, bytes]:
    data = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    with wire.request(method, url, headers=headers, body=data, timeout_s=timeout_s) as response:
        return response.status, response.body()


def _insist(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | None,
    sleep: Callable[[float], None],
    *,
    timeout_s: float = 30,
    droppable: bool = False,
) -> tuple[int, bytes]:
    attempt = 0
    while True:
        try:
            status, answer = _exchange(method, url, headers, body, timeout_s=timeout_s)
            _check(status, droppable)
            return status, answer
        except wire.WireError as err:
            delay = _BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)]
            attempt += 1
            print(f"roundhouse: {err}; again in {delay} s", flush=True)
            sleep(delay)


def _check(status: int, droppable: bool) -> None:
    if status == 403:
        raise HelloRefused(f"the service answered {status}")
    if status == 401:
        raise SessionEnded(f"the service answered {status}")
    if droppable and status in (404, 409):
        raise WorkDropped(f"the service answered {status}")
    if not 200 <= status < 300:
        raise wire.WireError(f"the service answered {status}")

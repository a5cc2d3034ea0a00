"""Which BMC is a machine's: what Redfish services tell of their systems (DSP0266), held against its inventory.

Everything here only reads. Nothing is switched before a BMC is known to be the machine's.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import urljoin, urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from service.power.errors import BmcRefused, BmcUnreachable

_TIMEOUT_S = 8.0
_AT_ONCE = 32
MOST_ADDRESSES = 1024  # of one search


@dataclass(frozen=True, slots=True)
class System:
    """One computer system of a Redfish service; what it does not tell is empty."""

    url: str
    serial: str
    uuid: str
    macs: tuple[str, ...]

    def same(self, inventory: Mapping[str, Any]) -> bool | None:
        """Whether this is the machine of that inventory; None where the two have nothing that can be compared."""
        told = inventory.get("system")
        system = told if isinstance(told, dict) else {}
        nics = inventory.get("nics")
        macs = {nic.get("mac") for nic in nics if isinstance(nic, dict)} if isinstance(nics, list) else set()
        answers = [bool(macs & set(self.macs))] if self.macs and macs else []
        for mine, theirs in ((self.serial, system.get("product_serial")), (self.uuid, system.get("product_uuid"))):
            if mine and theirs:
                answers.append(mine.lower() == str(theirs).lower())
        return any(answers) if answers else None


async def systems_at(url: str, username: str, password: str) -> list[System]:
    """All systems of the service at `url`, or the one that `url` names. Raises BmcUnreachable, BmcRefused."""
    basic = base64.b64encode(f"{username}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    async with ClientSession(headers=headers, timeout=ClientTimeout(total=_TIMEOUT_S)) as session:
        if "/Systems/" in urlsplit(url).path:
            return [await _system(session, url.rstrip("/"))]
        listed = await _read(session, f"{url.rstrip('/')}/redfish/v1/Systems")
        return [await _system(session, member) for member in _members(url, listed)]


async def found_at(urls: Sequence[str], username: str, password: str) -> tuple[list[System], list[str]]:
    """The systems of all services that answer, and a sentence for each that refuses or is silent."""
    limit = asyncio.Semaphore(_AT_ONCE)
    systems: list[System] = []
    complaints: list[str] = []

    async def look(url: str) -> None:
        async with limit:
            try:
                systems.extend(await systems_at(url, username, password))
            except (BmcUnreachable, BmcRefused) as err:
                complaints.append(str(err))

    await asyncio.gather(*(look(url) for url in urls))
    return sorted(systems, key=lambda system: system.url), sorted(complaints)


def urls_of(url: str, told: str, search: IPv4Network | IPv6Network | None) -> list[str]:
    """The services to be asked: `url` with its {address}, which is the one `told` in-band or each of `search`."""
    if "{address}" not in url:
        return [url]
    hosts = [told] if told and told != "0.0.0.0" else []
    if search is not None:
        listed = [str(one) for _, one in zip(range(MOST_ADDRESSES), search.hosts(), strict=False)]
        hosts += [host for host in listed if host not in hosts]
    return [url.replace("{address}", f"[{host}]" if ":" in host else host) for host in hosts]


async def _system(session: ClientSession, url: str) -> System:
    body = await _read(session, url)
    macs: list[str] = []
    if link := (body.get("EthernetInterfaces") or {}).get("@odata.id"):
        collection = await _read(session, urljoin(url, link))
        for member in _members(url, collection):
            card = await _read(session, member)
            macs += [str(mac).lower() for mac in (card.get("MACAddress"), card.get("PermanentMACAddress")) if mac]
    serial, uuid = (str(body.get(name) or "") for name in ("SerialNumber", "UUID"))
    return System(url, serial, uuid, tuple(dict.fromkeys(macs)))


def _members(url: str, collection: Mapping[str, Any]) -> list[str]:
    return [urljoin(url, member["@odata.id"]) for member in collection.get("Members", []) if "@odata.id" in member]


async def _read(session: ClientSession, url: str) -> Mapping[str, Any]:
    try:
        async with session.get(url, ssl=False) as response:
            if response.status >= 400:
                raise BmcRefused(f"{url}: HTTP {response.status}")
            body = await response.json(content_type=None)
    except (ClientError, OSError, TimeoutError) as err:
        raise BmcUnreachable(f"{url}: {str(err) or type(err).__name__}") from err
    except ValueError as err:
        raise BmcRefused(f"{url}: no JSON in the answer") from err
    if not isinstance(body, dict):
        raise BmcRefused(f"{url}: no JSON object in the answer")
    return body

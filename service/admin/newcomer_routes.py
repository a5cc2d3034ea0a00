"""Machines that come in by themselves: plans' bills of materials, where BMCs are, and another look at who waits."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from service.admin import hardware_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Strict, read
from service.api.parameters import Parameter
from service.api.problems import Invalid, not_found, shown
from service.bom import bom_from, bom_of
from service.policy import Right
from service.power.finding import MOST_ADDRESSES
from service.secrets import seal
from service.workflows.newcomer import judge_again
from sql.loader import Q


class Processors(Strict):
    """The processors: a part of the name that must be told, how many there are, and the cores of all together."""

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    sockets: Annotated[int, Field(ge=1, le=64)] | None = None
    cores: Annotated[int, Field(ge=1, le=4096)] | None = None


class Disks(Strict):
    """Disks of one kind and size."""

    count: Annotated[int, Field(ge=1, le=1000)]
    bytes: Annotated[int, Field(ge=1, le=10**17)]
    type: Literal["ssd", "hdd", "nvme"]


class Nics(Strict):
    """The network cards: at least so many, and the fastest link at least so fast."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    mbps: Annotated[int, Field(ge=0, le=10**7)] = 0


class Bom(Strict):
    """A bill of materials. What is left out is not compared."""

    arch: Literal["amd64", "arm64"] | None = None
    cpu: Processors | None = None
    memory_bytes: Annotated[int, Field(ge=1, le=10**16)] | None = None
    disks: Annotated[list[Disks], Field(max_length=50)] | None = None
    nics: Nics | None = None


class Hardware(Strict):
    """How a plan's machines are known: by `bom`, by that of a machine that is `like` them, or by its `specs`."""

    bom: Bom | None = None
    like: Annotated[str, Field(max_length=200)] | None = None  # a machine's name, or "LEAF PORT" of one that waits
    specs: bool = False
    rack_units: Annotated[int, Field(ge=1, le=50)] | None = None
    nodes: Annotated[int, Field(ge=1, le=16)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Hardware:
        if (self.bom is not None) + (self.like is not None) + self.specs > 1:
            raise ValueError("bom, like and specs: only one of them may be given")
        return self


def _url(value: str) -> str:
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
        raise ValueError(f"{value!r} is no http or https URL")
    return value


class Access(Strict):
    """Where the BMCs of a facility are, or that of one port, and who we are there at first.

    `url` may have {address}: the one that the machine tells of, and each address of `search`.
    """

    facility: str
    leaf: str | None = None
    port: str | None = None
    url: Annotated[str, Field(max_length=500), AfterValidator(_url)]
    search: IPv4Network | IPv6Network | None = None
    username: Annotated[str, Field(min_length=1, max_length=100)]
    password: Annotated[str, Field(max_length=200)]

    @model_validator(mode="after")
    def _whole(self) -> Access:
        if (self.leaf is None) != (self.port is None):
            raise ValueError("leaf and port: both or neither must be given")
        if self.search is not None and self.search.num_addresses > MOST_ADDRESSES:
            raise ValueError(f"search: {self.search} has more than {MOST_ADDRESSES} addresses")
        if self.search is not None and "{address}" not in self.url:
            raise ValueError("search: the url has no {address} to put one in")
        return self


class Which(Strict):
    """Which of those that wait in quarantine at free ports; all where nothing is said."""

    facility: str | None = None
    leaf: str | None = None
    port: str | None = None


def _hardware(row: Any) -> Body:
    return {
        "plan": row["slug"],
        "bom": row["bom"] or bom_of(row["specs"]),
        "of_specs": row["bom"] is None,
        "rack_units": row["rack_units"],
        "nodes": row["nodes"],
    }


async def get_hardware(call: Call) -> Body:
    """GET /admin/v1/plans/{plan}/hardware: what its machines are made of, and the room that they take in a rack"""
    row = await call.db.fetchrow(Q["plan_hardware"], call.ids["plan"])
    if row is None:
        raise not_found()
    return _hardware(row)


async def set_hardware(call: Call) -> Body:
    """PATCH /admin/v1/plans/{plan}/hardware: what its machines are made of; those at free ports are looked at again"""
    wish = read(Hardware, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(Q["plan_hardware"], call.ids["plan"])
        if row is None:
            raise not_found()
        bom: dict[str, Any] | None = row["bom"]
        if wish.bom is not None:
            bom = wish.bom.model_dump(exclude_none=True)
        elif wish.like is not None:
            inventory = await conn.fetchval(Q["inventory_like"], wish.like)
            if not inventory:
                raise Invalid(
                    f"like is not valid: {shown(wish.like)} is no machine that has told its inventory; allowed are a"
                    " machine's name, and LEAF PORT of one that waits at a free port"
                )
            bom = bom_from(inventory)
        elif wish.specs:
            bom = None
        units, nodes = wish.rack_units or row["rack_units"], wish.nodes or row["nodes"]
        await conn.execute(Q["set_plan_hardware"], row["slug"], bom, units, nodes)
        await judge_again(conn, now=call.api.clock.now(), settings=call.api.settings)
        return _hardware(await conn.fetchrow(Q["plan_hardware"], row["slug"]))


async def list_access(call: Call) -> Body:
    """GET /admin/v1/bmc-access: where BMCs of newly found machines are looked for, without the passwords"""
    return {
        "bmc_access": [
            {
                "facility": row["facility"],
                "leaf": row["leaf"],
                "port": row["port"],
                "url": row["url"],
                "search": None if row["search"] is None else str(row["search"]),
                "username": row["username"],
                "changed_at": stamp(row["changed_at"]),
            }
            for row in await call.db.fetch(Q["bmc_accesses"])
        ]
    }


async def set_access(call: Call) -> Body:
    """PUT /admin/v1/bmc-access: say where a facility's BMCs are, or that of one port; who waits is looked at again"""
    wish = read(Access, call.body)
    now = call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if wish.leaf is not None and not await conn.fetchval(Q["port_named"], wish.facility, wish.leaf, wish.port):
            raise Invalid(f"port is not valid: {shown(f'{wish.leaf} {wish.port}')} is no port of {wish.facility}")
        secret = seal(call.api.key, wish.password)
        where = (wish.facility, wish.leaf, wish.port)
        if not await conn.fetchval(Q["set_bmc_access"], *where, wish.url, wish.search, wish.username, secret, now):
            raise Invalid(f"facility is not valid: {shown(wish.facility)} is not known")
        again = await judge_again(
            conn, now=now, settings=call.api.settings, facility=wish.facility, leaf=wish.leaf, port=wish.port
        )
    return {"facility": wish.facility, "leaf": wish.leaf, "port": wish.port, "looked_at_again": again}


async def forget_access(call: Call) -> None:
    """DELETE /admin/v1/bmc-access: forget what was said of a facility, or of one port (facility, leaf, port)"""
    where = (call.word("facility"), call.word("leaf"), call.word("port"))
    if not await call.db.fetch(Q["forget_bmc_access"], *where):
        raise not_found()


async def look_again(call: Call) -> Body:
    """POST /admin/v1/discoveries/check: look again at machines that were refused at free ports"""
    wish = read(Which, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        again = await judge_again(
            conn,
            now=call.api.clock.now(),
            settings=call.api.settings,
            facility=wish.facility,
            leaf=wish.leaf,
            port=wish.port,
        )
    return {"looked_at_again": again}


ROUTES = (
    Route(
        "GET", "/admin/v1/plans/{plan}/hardware", get_hardware, right=Right.LOOK, answer=hardware_schemas.PlanHardware
    ),
    Route(
        "PATCH",
        "/admin/v1/plans/{plan}/hardware",
        set_hardware,
        right=Right.FACILITY,
        body=Hardware,
        answer=hardware_schemas.PlanHardware,
    ),
    Route(
        "GET",
        "/admin/v1/bmc-access",
        list_access,
        right=Right.LOOK,
        objects="bmc_access",
        answer=hardware_schemas.BmcAccess,
    ),
    Route(
        "PUT",
        "/admin/v1/bmc-access",
        set_access,
        right=Right.FACILITY,
        body=Access,
        answer=hardware_schemas.BmcAccessSet,
    ),
    Route(
        *("DELETE", "/admin/v1/bmc-access", forget_access),
        status=204,
        right=Right.FACILITY,
        query=(
            Parameter("facility", "The facility's code."),
            Parameter("leaf", "The leaf, where it was said of one port."),
            Parameter("port", "And its port."),
        ),
    ),
    Route(
        "POST",
        "/admin/v1/discoveries/check",
        look_again,
        status=202,
        right=Right.FACILITY,
        body=Which,
        answer=hardware_schemas.LookedAgain,
    ),
)

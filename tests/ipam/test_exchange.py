"""Import and export against the real database: what goes out comes in again, and what cannot be is said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.abuse import tag
from ipam.asn import add_pool, asns_at, take_asn
from ipam.exchange import csv_format, netbox, netbox_print
from ipam.exchange.apply import ImportConflicts, Plan, apply, plan
from ipam.exchange.bulk import cut_out_all
from ipam.exchange.diff import counts
from ipam.exchange.read import Printer, export, organizations, organizations_by_name
from ipam.exchange.rows import AddressRow, AsnRow, Owner, PoolRow, PrefixRow, Row, Source, VrfRow, Wish
from ipam.exchange.tree import Tree
from ipam.ledger import Want, give_back, hold, holding, take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for, set_status, usage
from service.store.rows import Connection, Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BY = "user:test"
HEADER = csv_format.Printer().begin()

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
filled = text.filter(bool)
notes = st.dictionaries(
    st.sampled_from(["description", "hostname", "status", "role", "address", "machine"]) | filled,
    text | st.sampled_from(["web1.example.org", "vip", "deprecated", "10.1.0.1/24"]) | st.integers() | st.booleans(),
    max_size=4,
)
ids = st.uuids(version=4)
ORGANIZATION, PROJECT = UUID(int=1), UUID(int=2)
CONTAINERS = ("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32")
LEAVES = (("10.1.0.0/24", 31), ("10.1.1.0/24", 32), ("10.2.0.0/16", 29), ("192.0.2.0/24", 32), ("2001:db8:1::/48", 64))


@st.composite
def sources(draw: st.DrawFn) -> list[Row]:
    """VRFs with trees, held blocks and AS numbers, all of which fit together."""
    rows: list[Row] = []
    for vrf in draw(st.lists(st.just("default") | filled, min_size=1, max_size=2, unique=True)):
        rows.append(VrfRow(vrf))
        tree: Tree[PrefixRow] = Tree()
        for cidr in draw(st.sets(st.sampled_from(CONTAINERS))):
            tree.put(draw(prefix_rows(vrf, cidr, "container", ip_network(cidr).prefixlen)))
            rows.append(next(tree.around(vrf, ip_network(cidr), itself=True)))
        for cidr, length in draw(st.sets(st.sampled_from(LEAVES))):
            role = draw(st.sampled_from(["public", "private", "elastic", "infrastructure"]))
            rows.append(draw(prefix_rows(vrf, cidr, role, length)))
            rows.extend(draw(held_in(vrf, ip_network(cidr), length)))
    if draw(st.booleans()):
        rows.append(PoolRow("private", 64512, 65534, draw(st.none() | st.just("ewr1"))))
        for asn in draw(st.sets(st.integers(64512, 65534), max_size=3)):
            rows.append(AsnRow(asn, draw(ids), draw(filled), draw(notes)))
    return draw(st.permutations(rows))


def prefix_rows(vrf: str, cidr: str, role: str, length: int) -> st.SearchStrategy[PrefixRow]:
    return st.builds(
        PrefixRow,
        vrf=st.just(vrf),
        cidr=st.just(ip_network(cidr)),
        role=st.just(role),
        facility=st.none() | filled,
        block_length=st.just(length),
        status=st.sampled_from(["active", "draining", "frozen"]),
        description=text,
        owner=st.none() | st.sampled_from([Owner("organization", ORGANIZATION), Owner("project", PROJECT)]),
    )


@st.composite
def held_in(draw: st.DrawFn, vrf: str, cidr: IPv4Network | IPv6Network, length: int) -> list[Row]:
    """Blocks of a prefix that do not overlap."""
    found: list[Row] = []
    taken: list[IPv4Network | IPv6Network] = []
    for size in draw(st.lists(st.integers(cidr.prefixlen, length), max_size=3)):
        number = draw(st.integers(0, 2 ** (size - cidr.prefixlen) - 1))
        address = int(cidr.network_address) + (number << (cidr.max_prefixlen - size))
        block = ip_network((address, size)) if cidr.version == 6 else IPv4Network((address, size))
        if not any(block.overlaps(other) for other in taken):
            taken.append(block)
            found.append(AddressRow(vrf, block, draw(ids), draw(filled), draw(st.none() | ids), draw(notes)))
    return found


@asynccontextmanager
async def moment(db: Pool) -> AsyncIterator[Connection]:
    """A transaction of which nothing stays: the database is as empty after it as before."""
    async with db.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            yield conn
        finally:
            await transaction.rollback()


async def add_owners(db: Pool) -> None:
    await db.execute("INSERT INTO organization (id, name) VALUES ($1, 'Acme') ON CONFLICT DO NOTHING", ORGANIZATION)
    await db.execute(
        "INSERT INTO project (id, organization_id, name) VALUES ($1, $2, 'web') ON CONFLICT DO NOTHING",
        PROJECT,
        ORGANIZATION,
    )


async def exported(conn: Connection, format_: str) -> str:
    printer: Printer = csv_format.Printer()
    if format_ == "netbox":
        printer = netbox_print.Printer(await organizations(conn))
    return "".join([piece async for piece in export(conn, printer)])


async def parsed(conn: Connection, format_: str, content: str) -> Source:
    if format_ == "csv":
        return csv_format.parse(content.encode())
    return netbox.parse(content.encode(), await organizations_by_name(conn))


async def done(conn: Connection, source: Source, at: datetime = NOW) -> Plan:
    async with conn.transaction():
        return await apply(conn, source, by=BY, now=at)


def csv(*lines: str) -> Source:
    return csv_format.parse("\n".join(lines).encode())


@settings(max_examples=20)
@given(rows=sources())
async def test_what_goes_out_comes_in_again(db: Pool, rows: list[Row]) -> None:
    await add_owners(db)
    wishes = [Wish(f"row {place}", row) for place, row in enumerate(rows)]
    async with moment(db) as conn:
        await done(conn, Source(wishes))
        first = {format_: await exported(conn, format_) for format_ in ("csv", "netbox")}
    for format_, content in first.items():
        async with moment(db) as conn:
            source = await parsed(conn, format_, content)
            assert not source.left_out
            made = await done(conn, source)
            assert all(change.action == "add" for change in made.changes)
            assert await exported(conn, format_) == content
            used = {row.vrf for row in rows if isinstance(row, PrefixRow)}
            if format_ == "csv" or "default" in used or VrfRow("default") not in rows:  # an empty global table is none
                assert await exported(conn, "csv") == first["csv"]
            again = await done(conn, source, NOW + timedelta(hours=1))
            assert counts(again.changes) == {"add": 0, "change": 0, "same": len(made.changes), "conflict": 0}


async def told(conn: Connection, source: Source) -> list[str]:
    """What would become of each row that is not the same."""
    made = await plan(conn, source)
    return [f"{change.action} {change}" for change in made.changes if change.action != "same"]


async def state(conn: Connection) -> str:
    async with conn.transaction():
        return await exported(conn, "csv")


async def test_a_dry_run_changes_nothing_and_apply_does_what_it_showed(db: Pool) -> None:
    source = csv(
        "kind,cidr,role,facility,status,description",
        "prefix,10.0.0.0/8,container",
        "prefix,10.1.0.0/16,private,ewr1,frozen,first racks",
        "address,10.1.0.6/31,,,,by hand",
    )
    async with db.acquire() as conn:
        shown = await plan(conn, source)
        assert await told(conn, source) == [
            "add default: vrf VRF default",
            "add line 2: prefix 10.0.0.0/8 in VRF default",
            "add line 3: prefix 10.1.0.0/16 in VRF default",
            "add line 4: address 10.1.0.6/31 in VRF default",
        ]
        assert await state(conn) == HEADER
        assert await done(conn, source) == shown
        assert (await state(conn)).splitlines()[1:] == [
            "vrf,default,,,,,,,,,,,,",
            "prefix,default,10.0.0.0/8,container,,8,active,,,,,,,",
            "prefix,default,10.1.0.0/16,private,ewr1,31,frozen,first racks,,,,,,",
            "address,default,10.1.0.6/31,,,,,by hand,c2979f04-4e33-5d5f-8885-9fa425a4cf17,imported,,,,",
        ]
        assert await told(conn, source) == []


async def test_the_allocator_never_gives_out_what_was_imported(db: Pool) -> None:
    async with db.acquire() as conn:
        await done(
            conn,
            csv(
                "kind,cidr,role,facility,block_length,name,asns",
                "prefix,192.0.2.0/29,public,ewr1,31",
                "address,192.0.2.0/31",
                "address,192.0.2.4/31",
                "asn-pool,,,,,private,64512-64516",
                "asn,,,,,,64513",
            ),
        )
        prefixes = await prefixes_for(conn, "public", "ewr1")
        blocks = [str((await take(conn, prefixes, uuid4(), "public", now=NOW, by=BY)).block) for _ in range(2)]
        assert blocks == ["192.0.2.2/31", "192.0.2.6/31"]
        numbers = [(await take_asn(conn, "private", uuid4(), "bgp", now=NOW, by=BY)).asn for _ in range(4)]
        assert numbers == [64512, 64514, 64515, 64516]
        (imported,) = await asns_at(conn, NOW + timedelta(hours=1), asn=64513)
        assert imported.opened_by == BY


async def test_what_is_not_given_stays_as_it_is(db: Pool) -> None:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        made = await add_prefix(
            conn, vrf, "10.1.0.0/16", "private", block_length=31, facility="ewr1", description="racks"
        )
        await hold(conn, made, IPv4Network("10.1.0.0/31"), Want(uuid4(), "boot", BY, note={"mac": "x"}), now=NOW)
        await set_status(conn, made.id, "draining")
        source = csv("kind,cidr,role", "prefix,10.1.0.0/16,private")
        assert await told(conn, source) == []
        source = csv("kind,cidr,role,status,description", "prefix,10.1.0.0/16,private,active,more racks")
        (change,) = [change for change in (await plan(conn, source)).changes if change.kind == "prefix"]
        assert (change.action, change.fields) == ("change", ("status", "description"))
        await done(conn, source)
        (use,) = await usage(conn)
        assert (use.prefix.standing, use.prefix.description, use.prefix.facility) == ("active", "more racks", "ewr1")
        assert use.taken == 1  # an import takes nothing away


async def test_a_note_that_changed_is_a_new_tenure_of_the_same_owner(db: Pool) -> None:
    lines = ("kind,cidr,role,description", "prefix,192.0.2.0/24,infrastructure,")
    later = NOW + timedelta(days=1)
    async with db.acquire() as conn:
        await done(conn, csv(*lines, "address,192.0.2.7,,old"))
        changed = csv(*lines, "address,192.0.2.7,,new")
        assert await told(conn, changed) == ["change line 3: address 192.0.2.7/32 in VRF default"]
        await done(conn, changed, later)
        vrf = await add_vrf(conn, "default")
        seen = [await holding(conn, IPv4Network("192.0.2.7/32"), at, vrf_ids=[vrf]) for at in (NOW, later)]
        assert [[dict(one.note) for one in found] for found in seen] == [
            [{"description": "old"}],
            [{"description": "new"}],
        ]
        assert seen[0][0].owner == seen[1][0].owner


CONFLICTS = {
    "prefix,10.1.2.0/24,private": "it lies in 10.1.0.0/16, which hands out as private and is no container",
    "prefix,10.0.0.0/7,private": "10.0.0.0/8 lies in it, and only a container holds other prefixes",
    "prefix,10.1.0.0/16,public": "its role is private and would be public; retire it and add it anew",
    "prefix,10.1.0.0/16,private,,32": "its block_length is 31 and would be 32; retire it and add it anew",
    f"prefix,10.3.0.0/16,private,,,,organization:{UUID(int=9)}": f"its owner is not there: organization:{UUID(int=9)}",
    "prefix,10.3.0.0/16,private,nowhere": "there is no VRF nowhere; add a row of kind vrf",
    "address,172.16.0.1": "no prefix holds it",
    "address,10.2.0.1": "it lies in the container 10.0.0.0/8 itself, which hands out nothing",
    "address,10.1.0.9": "10.1.0.0/16 hands out /16 to /31",
    "address,10.1.0.0/30": f"10.1.0.2/31 is held by {UUID(int=5)} as boot since 2026-03-01",
    "address,10.1.0.2/31": f"10.1.0.2/31 is held by {UUID(int=5)} as boot since 2026-03-01",
    f"address,10.1.0.2/31,,,,,{UUID(int=5)},boot,note": "its note would change, and no import made it",
    f"address,10.1.0.4/31,,,,,{UUID(int=5)},boot": f"{UUID(int=5)} holds 10.1.0.2/31 in VRF default as boot already",
    "address,10.1.1.0/31": "10.1.1.0/28 is tagged for abuse",
    "address,192.0.2.4": "192.0.2.0/24 is frozen, so nothing is held anew in it",
    "asn-pool,,,,,,,,,other,65000-65600": "it overlaps pool private with 64512-65534",
    "asn-pool,,,,,,,,,private,64512-65533": "it has 64512-65534 of all facilities, and a pool does not change",
    "asn,,,,,,,,,,65535": "no pool has it",
    "asn,,,,,,,,,,64512": f"it is held by {UUID(int=5)} as bgp",
    "asn,,,,,,,,,,4200100000": "it is more than 65536 numbers behind AS4200000000, the next new one of pool wide",
}


async def test_what_cannot_be_is_said_and_keeps_the_rest_from_being_done(db: Pool) -> None:
    header = "kind,cidr,role,vrf,block_length,status,owner,slot,description,name,asns"
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "10.0.0.0/8", "container")
        private = await add_prefix(conn, vrf, "10.1.0.0/16", "private", block_length=31)
        frozen = await add_prefix(conn, vrf, "192.0.2.0/24", "infrastructure", block_length=32)
        await set_status(conn, frozen.id, "frozen")
        await hold(conn, private, IPv4Network("10.1.0.2/31"), Want(UUID(int=5), "boot", BY), now=NOW)
        await tag(conn, vrf, IPv4Network("10.1.1.0/28"), "spam", "", now=NOW, by=BY)
        await add_pool(conn, "private", 64512, 65534)
        await add_pool(conn, "wide", 4200000000, 4294967294)
        await take_asn(conn, "private", UUID(int=5), "bgp", now=NOW, by=BY)
        before = await state(conn)
        for line, why in CONFLICTS.items():
            source = csv(header, "vrf,,,blue", line)
            kind = line.partition(",")[0]
            made = await plan(conn, source)
            found = [change for change in made.changes if change.action == "conflict"]
            assert [(change.kind, change.where, change.reason) for change in found] == [(kind, "line 3", why)]
            with pytest.raises(ImportConflicts):
                await done(conn, source)
        # Opening what is frozen makes room for what is to be held in it.
        await done(conn, csv(header, "prefix,192.0.2.0/24,infrastructure,,,active", "address,192.0.2.4"))
        after = (await state(conn)).splitlines()
        assert len(after) == len(before.splitlines()) + 1


async def test_rows_of_one_file_that_contradict_each_other(db: Pool) -> None:
    source = csv(
        "kind,cidr,role,owner,slot",
        "prefix,10.1.0.0/16,elastic",
        "prefix,10.1.0.0/16,elastic",
        "prefix,10.1.2.0/24,elastic",
        "address,10.1.0.0/28",
        "address,10.1.0.4",
        f"address,10.1.1.1,,{UUID(int=5)},a",
        f"address,10.1.1.2,,{UUID(int=5)},a",
    )
    async with db.acquire() as conn:
        assert [line for line in await told(conn, source) if line.startswith("conflict")] == [
            "conflict line 3: prefix 10.1.0.0/16 in VRF default: it is there twice, first at line 2",
            "conflict line 4: prefix 10.1.2.0/24 in VRF default: it lies in 10.1.0.0/16, which hands out as elastic"
            " and is no container",
            "conflict line 6: address 10.1.0.4/32 in VRF default: it lies in 10.1.0.0/28, which is held by line 5",
            f"conflict line 8: address 10.1.1.2/32 in VRF default: {UUID(int=5)} holds another block as a at line 7",
        ]


async def test_two_imports_at_once_are_one_after_the_other(db: Pool) -> None:
    source = csv("kind,cidr,role", "prefix,192.0.2.0/24,infrastructure", *(f"address,192.0.2.{n}" for n in range(40)))

    async def once() -> int:
        async with db.acquire() as conn:
            return counts((await done(conn, source)).changes)["add"]

    assert sorted(await asyncio.gather(once(), once(), once())) == [0, 0, 42]


@settings(max_examples=200)
@given(data=st.data())
def test_many_blocks_are_cut_out_and_nothing_is_lost(data: st.DataObject) -> None:
    whole = IPv4Network("192.0.2.0/26")
    parts = data.draw(st.lists(st.sampled_from([p for n in range(26, 33) for p in whole.subnets(new_prefix=n)])))
    disjoint: list[IPv4Network | IPv6Network] = []
    for part in parts:
        if not any(part.overlaps(other) for other in disjoint):
            disjoint.append(part)
    free: list[IPv4Network | IPv6Network] = []
    wanted: list[IPv4Network | IPv6Network] = []
    for block in disjoint:
        free.append(block)
        if data.draw(st.booleans()) and block.prefixlen < 32:
            wanted.extend(
                data.draw(st.sets(st.sampled_from(list(block.subnets(new_prefix=min(32, block.prefixlen + 2))))))
            )
        else:
            wanted.extend(data.draw(st.sampled_from([[], [block]])))
    carved = cut_out_all(free, wanted)
    assert set(carved.taken) == set(wanted)
    addresses = Counter(address for block in (*carved.taken, *(piece for piece, _ in carved.left)) for address in block)
    assert addresses == Counter(address for block in carved.used_up for address in block)
    assert all(piece.subnet_of(source) for piece, source in carved.left)  # type: ignore[arg-type]


async def test_a_block_that_several_free_ones_make_up_is_held(db: Pool) -> None:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        made = await add_prefix(conn, vrf, "192.0.2.0/24", "infrastructure", block_length=32)
        owner = uuid4()
        for number in range(4):
            await hold(conn, made, IPv4Network((0xC0000200 + number, 32)), Want(owner, f"s{number}", BY), now=NOW)
        later = NOW + timedelta(hours=1)
        await give_back(conn, owner, now=later, by=BY)
        source = csv("kind,cidr,role", "address,192.0.2.0/30", "address,192.0.2.64/26")
        await done(conn, source, later + timedelta(hours=1))
        assert await told(conn, source) == []

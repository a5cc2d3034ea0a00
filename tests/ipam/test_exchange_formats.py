"""Files that people and NetBox make: what is wrong is named, what has no place here is told."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.exchange import csv_format, netbox
from ipam.exchange.apply import apply, plan
from ipam.exchange.diff import counts
from ipam.exchange.read import prefixes
from ipam.exchange.rows import AddressRow, BadSource, PrefixRow
from service.store.rows import Pool
from tests.ipam.test_exchange import BY, NOW, ORGANIZATION, add_owners, exported

BAD_LINES = {
    "": "line 1: there is no header",
    "cidr\n": "line 1: the column kind is missing; allowed are kind, vrf, cidr, ",
    "kind,size\n": "line 1: 'size' is no column; allowed are kind, ",
    "kind,vrf,vrf\n": "line 1: the column vrf is there twice",
    "kind\nnet\n": "line 2: kind: 'net' is no kind; allowed are vrf, prefix, address, asn-pool, asn",
    "kind,vrf\nvrf,\n": "line 2: vrf: can't be blank",
    "kind,vrf\nvrf,a,b\n": "line 2: there are 3 cells, and 2 columns",
    "kind,cidr,role\nprefix,10.0.0.1/8,private\n": "line 2: cidr: '10.0.0.1/8' is no block: 10.0.0.1/8 has host",
    "kind,cidr,role\nprefix,10.0.0.0/8,\n": "line 2: role: can't be blank",
    "kind,cidr,role\nprefix,10.0.0.0/8,lan\n": "line 2: role: 'lan' is no role; allowed are container, boot, ",
    "kind,cidr,role,status\nprefix,10.0.0.0/8,boot,retired\n": "'retired' is no status; allowed are active, ",
    "kind,cidr,role,block_length\nprefix,10.0.0.0/8,boot,33\n": "block_length: '33' is no whole number from 0 to 32",
    "kind,cidr,role,block_length\nprefix,10.0.0.0/8,boot,7\n": "10.0.0.0/8 cannot be cut into blocks of /7; allowed",
    "kind,cidr,role,owner\nprefix,10.0.0.0/8,boot,me\n": "owner: 'me' is no owner; allowed are organization:ID",
    "kind,cidr,owner\naddress,10.0.0.1,me\n": "line 2: owner: 'me' is no id (UUID)",
    "kind,cidr,role\naddress,10.0.0.1,boot\n": "line 2: role: 'boot': a row of kind address has none",
    "kind,cidr\naddress,fe80::1%eth0\n": "it names a zone",
    "kind,cidr,note\naddress,10.0.0.1,{\n": "line 2: note: '{' is no JSON",
    "kind,cidr,note\naddress,10.0.0.1,[1]\n": "line 2: note: '[1]' is no JSON object",
    'kind,cidr,note\naddress,10.0.0.1,"{""a"": ""\\u0000""}"\n': "holds NUL",
    'kind,cidr,note\naddress,10.0.0.1,"{""a"": NaN}"\n': "is no finite number",
    "kind,cidr,description\naddress,10.0.0.1,a\0b\n": "line 2: description: 'a\\x00b' holds NUL",
    "kind,name,asns\nasn-pool,p,1\n": "line 2: asns: '1' is no range; allowed is FIRST-LAST",
    "kind,name,asns\nasn-pool,P!,1-2\n": "'P!' is no name of a pool",
    "kind,name,asns\nasn-pool,p,2-1\n": "2-1 is no range of AS numbers; allowed are 1 to 4294967294",
    "kind,asns\nasn,0\n": "line 2: asns: 0 is no AS number",
    'kind,vrf\nvrf,"a\nb"\nvrf,"a"b\n': "line 4: the file is no CSV",
}


@pytest.mark.parametrize("content", BAD_LINES)
def test_a_wrong_line_is_named(content: str) -> None:
    with pytest.raises(BadSource) as refused:
        csv_format.parse(content.encode())
    assert len(refused.value.problems) == 1 and BAD_LINES[content] in refused.value.problems[0]


def test_all_wrong_lines_are_named_and_where_they_begin() -> None:
    with pytest.raises(BadSource) as refused:
        csv_format.parse(b'kind,cidr,role,description\nprefix,x,y,"two\nlines"\n\nprefix,10.0.0.0/8,z,\n')
    assert [problem[:13] for problem in refused.value.problems] == ["line 2: cidr:", "line 2: role:", "line 5: role:"]
    with pytest.raises(BadSource, match="line 2: the file is not UTF-8"):
        csv_format.parse(b"kind,vrf\nvrf,\xff\n")
    with pytest.raises(BadSource, match="and 100 more"):
        csv_format.parse(b"kind\n" + 200 * b"x\n")


def test_a_spreadsheets_file_is_read() -> None:
    source = csv_format.parse(b"\xef\xbb\xbfrole,kind,cidr\r\n private ,prefix, 10.0.0.0/24\r\n,,\r\n")
    (prefix, _) = [wish.row for wish in source.wishes]
    assert isinstance(prefix, PrefixRow)
    assert (str(prefix.cidr), prefix.role, prefix.block_length, prefix.vrf) == ("10.0.0.0/24", "private", 31, "default")


@settings(max_examples=200)
@given(content=st.text(st.sampled_from('kindvrprefaxcsoe,"\n\r10./:{} '), max_size=80))
def test_any_text_is_read_or_refused(content: str) -> None:
    for parse in (csv_format.parse, lambda given: netbox.parse(given, {})):
        try:
            parse(content.encode())
        except BadSource as err:
            assert err.problems


def choice(value: str) -> dict[str, str]:
    return {"value": value, "label": value.capitalize()}


def nested(id_: int, name: str) -> dict[str, object]:
    return {"id": id_, "url": f"http://netbox/api/x/{id_}/", "display": name, "name": name, "slug": name.lower()}


def body(*results: dict[str, object]) -> dict[str, object]:
    return {"count": len(results), "next": None, "previous": None, "results": list(results)}


def prefix(id_: int, cidr: str, status: str = "active", **fields: object) -> dict[str, object]:
    """As NetBox 4.2 and later answers."""
    return {
        "id": id_,
        "url": f"http://netbox/api/ipam/prefixes/{id_}/",
        "display_url": f"http://netbox/ipam/prefixes/{id_}/",
        "display": cidr,
        "aggregate": None,
        "rir": {"id": 1, "name": "RIPE"},
        "family": {"value": 4, "label": "IPv4"},
        "prefix": cidr,
        "vrf": None,
        "scope_type": None,
        "scope_id": None,
        "scope": None,
        "tenant": None,
        "vlan": None,
        "status": choice(status),
        "role": None,
        "is_pool": False,
        "mark_utilized": False,
        "description": "",
        "comments": "",
        "tags": [],
        "custom_fields": {},
        "created": "2024-01-01T00:00:00Z",
        "last_updated": "2024-01-01T00:00:00Z",
        "children": 0,
        "_depth": 0,
        **fields,
    }


def address(id_: int, text: str, **fields: object) -> dict[str, object]:
    return {
        "id": id_,
        "url": f"http://netbox/api/ipam/ip-addresses/{id_}/",
        "display": text,
        "family": {"value": 4, "label": "IPv4"},
        "address": text,
        "vrf": None,
        "tenant": None,
        "status": choice("active"),
        "role": None,
        "assigned_object_type": None,
        "assigned_object_id": None,
        "assigned_object": None,
        "nat_inside": None,
        "nat_outside": [],
        "dns_name": "",
        "description": "",
        "comments": "",
        "tags": [],
        "custom_fields": {},
        "created": "2024-01-01T00:00:00Z",
        "last_updated": "2024-01-01T00:00:00Z",
        **fields,
    }


SITE: dict[str, Any] = {"scope_type": "dcim.site", "scope_id": 3, "scope": nested(3, "EWR1")}
NETBOX: dict[str, Any] = {
    "vrfs": body(
        {
            "id": 7,
            "name": "blue",
            "rd": "64500:7",
            "tenant": None,
            "enforce_unique": False,
            "description": "",
            "import_targets": [],
            "export_targets": [],
            "tags": [],
            "custom_fields": {},
            "prefix_count": 2,
        }
    ),
    "prefixes": [
        body(
            prefix(1, "10.0.0.0/8", "container", comments="all of it"),
            prefix(2, "10.1.0.0/24", role=nested(1, "Public"), description="hosts", **SITE),
            prefix(3, "10.2.0.0/16", role=nested(2, "Staging"), vlan=nested(5, "v100"), is_pool=True),
            prefix(4, "10.3.0.0/16", "reserved", role=nested(3, "Private"), tenant=nested(1, "Acme")),
        ),
        body(
            prefix(5, "10.4.0.0/16", "deprecated", role=nested(3, "Private"), tenant=nested(2, "Nobody")),
            prefix(6, "10.5.0.0/16", "parked", role=nested(3, "Private"), custom_fields={"rack": "r1", "row": None}),
            prefix(7, "10.6.0.0/16", scope_type="dcim.region", scope_id=1, scope=nested(1, "Europe")),
            prefix(8, "10.7.0.0/16", mark_utilized=True, tags=[nested(1, "old")]),
            prefix(9, "10.7.1.0/24", role=nested(4, "Loopbacks")),
            prefix(10, "10.0.0.0/8", vrf=nested(7, "blue")),
        ),
    ],
    "ip-addresses": body(
        address(
            1,
            "10.1.0.4/31",
            dns_name="leaf.example.org",
            assigned_object={"name": "xe-0/0/1", "device": nested(1, "leaf1")},
        ),
        address(2, "10.1.0.5/31", dns_name="web1.example.org", status=choice("dhcp"), role=choice("vip")),
        address(
            3, "10.2.0.9/16", description="printer", tenant=nested(2, "Nobody"), nat_inside=nested(9, "10.9.9.9/32")
        ),
        address(4, "10.9.0.1/24"),
        address(5, "172.16.0.1/24"),
        address(6, "10.1.0.4/24", vrf=nested(7, "blue"), tags=[nested(1, "old")], comments="see wiki"),
    ),
    "asn-ranges": body(
        {"id": 1, "name": "Private", "slug": "private", "rir": nested(1, "RFC6996"), "start": 64512, "end": 65534}
    ),
    "asns": body(
        {
            "id": 1,
            "asn": 64600,
            "rir": nested(1, "RFC6996"),
            "role": None,
            "tenant": nested(1, "Acme"),
            "sites": [nested(3, "EWR1")],
            "description": "ours",
        },
        {"id": 2, "asn": 3320, "rir": nested(2, "RIPE"), "tenant": None, "sites": []},
    ),
}
MEANT = {
    "10.0.0.0/8": ("container", None, 8, "active"),
    "10.1.0.0/24": ("public", "ewr1", 31, "active"),
    "10.2.0.0/16": ("infrastructure", None, 32, "active"),
    "10.3.0.0/16": ("private", None, 31, "frozen"),
    "10.4.0.0/16": ("infrastructure", None, 32, "draining"),
    "10.5.0.0/16": ("private", None, 31, "frozen"),
    "10.6.0.0/16": ("infrastructure", None, 32, "active"),
    "10.7.0.0/16": ("container", None, 16, "active"),
    "10.7.1.0/24": ("loopback", None, 32, "active"),
}
LEFT_OUT = {
    ("vrfs", "rd"): "VRFs have a name only",
    ("vrfs", "enforce_unique"): "a block is held once a VRF, always",
    ("prefixes", "comments"): "there is no such field here",
    ("prefixes", "vlan"): "VLANs are not kept here",
    ("prefixes", "is_pool"): "the first and the last address are handed out in any case",
    ("prefixes", "tenant"): "no organization has that name; it hands out nothing, as infrastructure",
    ("prefixes", "status"): "an unknown status; frozen, so that nothing is handed out",
    ("prefixes", "scope"): "only sites are facilities",
    ("prefixes", "mark_utilized"): "use is counted, not said",
    ("prefixes", "tags"): "there is no such field here",
    ("prefixes", "custom_fields.rack"): "there is no such field here",
    ("ip-addresses", "nat_inside"): "translations of addresses are not kept here",
    ("asn-ranges", "rir"): "registries are not kept here",
    ("asns", "asn"): "no pool has it, so nothing would hand it out",
}


async def test_netboxs_answers_are_read_and_what_has_no_place_is_told(db: Pool) -> None:
    await add_owners(db)
    source = netbox.parse(json.dumps(NETBOX).encode(), {"Acme": ORGANIZATION})
    async with db.acquire() as conn:
        async with conn.transaction():
            made = await apply(conn, source, by=BY, now=NOW)
        found = {str(row.cidr): row for row in (await prefixes(conn)).values() if row.vrf == "default"}
        assert {cidr: (row.role, row.facility, row.block_length, row.status) for cidr, row in found.items()} == MEANT
        assert str(found["10.3.0.0/16"].owner) == f"organization:{ORGANIZATION}"
        left_out = {((one.where.split(" ")[0], one.field), one.why) for one in made.left_out}
        assert LEFT_OUT.items() <= left_out
        told = {(one.where, one.value) for one in made.left_out}
        assert ("prefixes 3 (id 3)", "staging") in told
        assert ("prefixes 8 (id 8)", "no container, but infrastructure") in told
        addresses = [(one.where, one.why) for one in made.left_out if one.field == "address"]
        assert addresses == [
            ("ip-addresses 4 (id 4)", "it lies in the container 10.0.0.0/8 itself, so nothing would hand it out"),
            ("ip-addresses 5 (id 5)", "no prefix holds it, so nothing would hand it out"),
        ]
        held = {
            f"{row.vrf} {row.block}": row.note for change in made.changes if isinstance(row := change.row, AddressRow)
        }
        assert held == {
            "default 10.1.0.4/31": {
                "address": "10.1.0.4/31, 10.1.0.5/31",
                "hostname": "leaf.example.org, web1.example.org",
                "device": "leaf1",
                "port": "xe-0/0/1",
                "status": "dhcp",
                "role": "vip",
            },
            "default 10.2.0.9/32": {"address": "10.2.0.9/16", "description": "printer", "tenant": "Nobody"},
            "blue 10.1.0.4/32": {"address": "10.1.0.4/24", "tags": "old", "comments": "see wiki"},
        }
        again = await plan(conn, source)
        assert counts(again.changes)["same"] == len(again.changes) == len(made.changes)
        async with conn.transaction():
            ours = netbox.parse((await exported(conn, "netbox")).encode(), {})
        back = await plan(conn, ours)
        assert counts(back.changes)["same"] == len(back.changes) and not back.left_out


BAD_BODIES: dict[str, tuple[object, str]] = {
    "json": ("{", "the file is no JSON"),
    "list": ([], "allowed is an object with vrfs, prefixes, ip-addresses, asn-ranges, asns"),
    "name": ({"devices": []}, "the file is 'devices'; allowed is an object with vrfs, "),
    "body": ({"prefixes": 5}, "prefixes: it is no list and has no list of results"),
    "page": ({"prefixes": {"count": 3, "results": [prefix(1, "10.0.0.0/8")]}}, "prefixes: 1 of 3 are here; fetch all"),
    "item": ({"prefixes": [5]}, "prefixes 1: 5 is no object"),
    "cidr": ({"prefixes": [prefix(4, "10.0.0.1/8")]}, "prefixes 1 (id 4): prefix: '10.0.0.1/8' is no block"),
    "null": ({"prefixes": [{"id": 4}]}, "prefixes 1 (id 4): prefix: '' is no block"),
    "text": ({"prefixes": [prefix(4, "10.0.0.0/8", description=5)]}, "prefixes 1 (id 4): description: 5 is no text"),
    "brief": ({"prefixes": [prefix(4, "10.0.0.0/8", vrf=7)]}, "vrf: 7 is no nested object with its name"),
    "global": ({"vrfs": [{"name": "default"}]}, "is what the global table is called here"),
    "address": ({"ip-addresses": [address(1, "10.0.0.300/8")]}, "address: '10.0.0.300/8' is no address"),
    "asn": ({"asns": [{"asn": 0}]}, "asn: 0 is no AS number; allowed are 1 to 4294967294"),
    "ours": (
        {"prefixes": [prefix(4, "10.0.0.0/8", custom_fields={"roundhouse_block_length": 4})]},
        "custom_fields.roundhouse_block_length: 10.0.0.0/8 cannot be cut into blocks of /4",
    ),
    "surrogate": ({"prefixes": [prefix(4, "10.0.0.0/8", description="\ud800")]}, "holds NUL or half a surrogate pair"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_wrong_object_is_named(name: str) -> None:
    given, said = BAD_BODIES[name]
    content = given if isinstance(given, str) else json.dumps(given)
    with pytest.raises(BadSource) as refused:
        netbox.parse(content.encode(), {"Acme": UUID(int=1)})
    assert len(refused.value.problems) == 1 and said in refused.value.problems[0]

"""Whatever is sent to the virtual leaf, each message is answered and the session lives; only broken framing ends it."""

from __future__ import annotations

import asyncio
from xml.sax.saxutils import escape, quoteattr

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconf.owned import NETCONF, tag_of
from netconf.render import Element
from service.lab.leaf import VirtualLeaf
from service.lab.leaf.calls import CALLS
from service.lab.leaf.grammar import ROOT, Statement
from tests.netconf.wire import Wire, bare, kinds, told, wire


def rpc(inside: str, attributes: str = 'message-id="1"') -> bytes:
    return f'<rpc xmlns="{NETCONF}" {attributes}>{inside}</rpc>'.encode()


async def lives(call: Wire) -> bool:
    return kinds(await call("<discard-changes/>")) == ["ok"]


_MALFORMED = {
    "an empty call": (rpc(""), "missing-element", "rpc"),
    "a comment only": (rpc("<!-- nothing -->"), "missing-element", "rpc"),
    "two operations": (rpc("<discard-changes/><close-session/>"), "malformed-message", "close-session"),
    "an unknown operation": (rpc("<frobnicate/>"), "operation-not-supported", "frobnicate"),
    "no XML": (b"frobnicate", "malformed-message", ""),
    "half a message": (b"<rpc><get-config>", "malformed-message", ""),
    "no UTF-8": (b"<rpc>\xff</rpc>", "malformed-message", ""),
    "a document type": (
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + rpc("<get-config>&b;</get-config>"),
        "malformed-message",
        "",
    ),
    "another root": (b"<frobnicate/>", "malformed-message", ""),
    "a second hello": (f'<hello xmlns="{NETCONF}"/>'.encode(), "malformed-message", ""),
    "too deep": (rpc("<a>" * 300 + "</a>" * 300), "malformed-message", ""),
    "no source": (rpc("<get-config/>"), "missing-element", "source"),
    "an unknown source": (
        rpc("<get-config><source><startup/></source></get-config>"),
        "operation-not-supported",
        "startup",
    ),
    "no config": (rpc("<edit-config><target><candidate/></target></edit-config>"), "missing-element", "config"),
    "another filter": (
        rpc('<get-config><source><running/></source><filter type="xpath" select="/"/></get-config>'),
        "operation-not-supported",
        "filter",
    ),
    "another configuration": (
        rpc("<edit-config><target><candidate/></target><config><system/></config></edit-config>"),
        "unknown-element",
        "system",
    ),
    "an unknown default": (
        rpc(
            "<edit-config><target><candidate/></target><default-operation>guess</default-operation><config/>"
            "</edit-config>"
        ),
        "invalid-value",
        "default-operation",
    ),
}


@pytest.mark.parametrize("what", _MALFORMED)
async def test_a_malformed_call_is_answered_with_what_is_wrong(call: Wire, what: str) -> None:
    message, tag, bad = _MALFORMED[what]
    reply = await call.message(message)
    assert told(reply, "rpc-error/error-tag") == [tag]
    assert told(reply, "rpc-error/error-info/bad-element") == ([bad] if bad else [])
    assert await lives(call)


async def test_comments_and_instructions_in_a_call_mean_nothing(call: Wire) -> None:
    inside = "<!-- a --><get-config><?b c?><source><!-- d --><running/></source></get-config><!-- e -->"
    assert kinds(await call.message(rpc(inside))) == ["data"]


async def test_all_attributes_of_a_call_come_back(call: Wire) -> None:
    attributes = f'message-id={quoteattr("<&>" + "9" * 5000)} xmlns:a="urn:a" a:b="c" xml:lang="de"'
    reply = await call.message(rpc("<discard-changes/>", attributes))
    assert {str(name): value for name, value in reply.attrib.items()} == {
        "message-id": "<&>" + "9" * 5000,
        "{urn:a}b": "c",
        "{http://www.w3.org/XML/1998/namespace}lang": "de",
    }
    assert kinds(await call.message(rpc("<discard-changes/>", ""))) == ["ok"]


async def test_a_client_that_gives_itself_a_number_is_dropped(leaf: VirtualLeaf) -> None:
    hello = f'<hello xmlns="{NETCONF}"><session-id>3</session-id></hello>'
    with pytest.raises((asyncssh.ConnectionLost, asyncio.IncompleteReadError)):
        async with wire(leaf, hello) as call:
            await call.receive()


def _tags(statement: Statement, seen: set[str]) -> set[str]:
    for tag, one in statement.inner.items():
        if tag not in seen:
            seen.add(tag)
            _tags(one, seen)
    return seen


# Words that mean something to the leaf, so that what is drawn comes far.
_TAGS = sorted(
    {
        *_tags(ROOT, set()),
        *("configuration", "config", "source", "target", "running", "candidate", "startup", "filter", "name", "url"),
        *("default-operation", "confirmed", "confirm-timeout", "persist", "persist-id", "session-id", "check", "log"),
        *(
            "private",
            "ephemeral",
            "ephemeral-instance",
            "configuration-set",
            "configuration-text",
            "rollback",
            "compare",
        ),
        *("terse", "interface-name", "destination", "table", "protocol", "exact", "neighbor-address", "format", "a.b"),
    }
)
_VALUES = st.one_of(
    st.sampled_from(
        [
            "",
            "merge",
            "replace",
            "delete",
            "set",
            "text",
            "xml",
            "override",
            "10.0.0.0/31",
            "2001:db8::/64",
            "0",
            "1",
            "rh",
        ]
    ),
    st.sampled_from(
        [
            "set system host-name x",
            "delete interfaces",
            "system { host-name x; }",
            "xe-0/0/0",
            "[*",
            "inet.0",
            "}",
            "none",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12),
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ["operation", "nc:operation", "delete", "replace", "inactive", "active", "action", "format", "rollback", "type"]
    ),
    _VALUES,
    max_size=3,
)


def _element(tag: str, attributes: dict[str, str], inside: str) -> str:
    said = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<{tag}{said}>{inside}</{tag}>"


_TEXT = _VALUES.map(escape)
_TREES = st.recursive(
    st.builds(_element, st.sampled_from(_TAGS), _ATTRIBUTES, _TEXT),
    lambda inner: st.builds(
        _element, st.sampled_from(_TAGS), _ATTRIBUTES, st.lists(st.one_of(inner, _TEXT), max_size=4).map("".join)
    ),
    max_leaves=12,
)
_ENDING = {"close-session", "kill-session"}
_CALLS = st.builds(
    _element,
    st.sampled_from(sorted(set(CALLS) - _ENDING)),
    _ATTRIBUTES,
    st.lists(
        st.one_of(
            _TREES,
            st.sampled_from(["<target><candidate/></target>", "<source><candidate/></source>", "<confirmed/>"]),
            _TREES.map(lambda one: f"<configuration>{one}</configuration>"),
            _TREES.map(lambda one: f"<config><configuration>{one}</configuration></config>"),
            _TREES.map(lambda one: f"<filter><configuration>{one}</configuration></filter>"),
        ),
        max_size=3,
    ).map("".join),
)


def _is_whole(reply: Element) -> bool:
    return tag_of(reply) == "rpc-reply" and all(
        one.findtext("error-severity") in ("error", "warning") for one in bare(reply).iter("rpc-error")
    )


_LOOKS = (
    *("<get-interface-information/>", "<get-route-information/>", "<get-bgp-neighbor-information/>"),
    *('<get-configuration format="text"/>', '<get-configuration format="set"/>', "<get-bgp-summary-information/>"),
    *('<get-configuration compare="rollback" rollback="0" format="xml"/>', "<get-commit-information/>"),
    *('<get-configuration compare="rollback" rollback="0" format="text"/>', "<get-lldp-neighbors-information/>"),
)


async def _tells_all(call: Wire) -> None:
    for look in _LOOKS:
        assert "rpc-error error" not in kinds(await call(look)), look


@settings(max_examples=200)
@given(calls=st.lists(_CALLS, min_size=1, max_size=4))
async def test_whatever_call_is_made_it_is_answered_and_the_session_lives(call: Wire, calls: list[str]) -> None:
    for one in calls:
        message = f'<rpc xmlns="{NETCONF}" xmlns:nc="{NETCONF}" message-id="1">{one}</rpc>'.encode()
        assert _is_whole(await call.message(message))
    await _tells_all(call)


_NAMES = st.sampled_from(
    ["xe-0/0/0", "0", "lo0", "10.0.0.1", "10.0.0.0/31", "2001:db8::/64", "inet6.0", "a b", "x", "all"]
)
_SAID = st.one_of(
    _NAMES, st.sampled_from(["9", "external", "65000", "4294967296", "-1", "10.0.0.1", "x", "bgp", "/24-/x"])
)
_OPERATIONS = st.sampled_from(["", "", "", "", ' delete="delete"', ' replace="replace"', ' inactive="inactive"'])


@st.composite
def _statements(draw: st.DrawFn, statement: Statement = ROOT, depth: int = 9) -> str:
    """Statements as the grammar has them, with names and values that need not make sense."""
    made = ""
    for tag in draw(st.lists(st.sampled_from(sorted(statement.inner)), min_size=1, max_size=3)) if depth else ():
        one = statement.inner[tag]
        inside = draw(_SAID) if one.kind in ("value", "values") else ""
        if one.kind == "list":
            inside = f"<{one.key}>{draw(_NAMES)}</{one.key}>"
        if one.inner:
            inside += draw(_statements(one, depth - 1))
        made += f"<{tag}{draw(_OPERATIONS)}>{inside}</{tag}>"
    return made


# Where most of what the leaf makes something of stands; drawn from the root, little of it would come.
_PLACES = (
    *("interfaces", "interfaces/interface/unit/family", "routing-options", "routing-options/static"),
    *("routing-options/rib", "protocols/bgp", "protocols/bgp/group", "forwarding-options", "policy-options"),
    "policy-options/policy-statement",
)


@st.composite
def _configurations(draw: st.DrawFn) -> str:
    path = draw(st.sampled_from(_PLACES)).split("/")
    opened, closed, place = "", "", ROOT
    for tag in path:
        place = place.inner[tag]
        key = f"<{place.key}>{draw(_NAMES)}</{place.key}>" if place.kind == "list" else ""
        opened, closed = f"{opened}<{tag}>{key}", f"</{tag}>{closed}"
    return f"{opened}{draw(_statements(place))}{closed}"


_LOAD = '<load-configuration action="{}" format="xml"><configuration>{}</configuration></load-configuration>'


@settings(max_examples=150)
@given(
    opening=st.sampled_from(["", "<private/>", "<ephemeral/>"]),
    configurations=st.lists(_configurations(), min_size=1, max_size=4),
    action=st.sampled_from(["merge", "replace", "update"]),
)
async def test_whatever_is_configured_the_leaf_lives_with_it(
    leaf: VirtualLeaf, opening: str, configurations: list[str], action: str
) -> None:
    async with wire(leaf) as call:
        assert _is_whole(await call(f"<open-configuration>{opening}</open-configuration>"))
        for one in configurations:
            assert _is_whole(await call(_LOAD.format(action, one)))
        await _tells_all(call)
        assert _is_whole(await call("<commit-configuration/>"))
        await _tells_all(call)
        await call("<close-configuration/>" if opening else "<discard-changes/>")


@settings(max_examples=100)
@given(message=st.one_of(_TREES, st.text(max_size=40)).filter(lambda one: "]]>]]>" not in one and "hello" not in one))
async def test_whatever_message_is_sent_it_is_answered(call: Wire, message: str) -> None:
    assert _is_whole(await call.message(message.encode(errors="replace")))
    assert await lives(call)

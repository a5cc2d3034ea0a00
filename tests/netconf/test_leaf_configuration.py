"""Junos' own calls about the configuration, as the virtual leaf answers them, read off the wire."""

from __future__ import annotations

import asyncio

import pytest

from netconf.secret9 import decode
from service.lab.leaf import VirtualLeaf
from tests.netconf.wire import Wire, bare, kinds, told, wire

SET = '<load-configuration action="set" format="text"><configuration-set>{}</configuration-set></load-configuration>'
TEXT = '<load-configuration action="{}" format="text"><configuration-text>{}</configuration-text></load-configuration>'
XML = '<load-configuration action="{}" format="xml"><configuration>{}</configuration></load-configuration>'
COMMIT = "<commit-configuration>{}</commit-configuration>"
COMPARE = '<get-configuration compare="rollback" rollback="{}" format="text"/>'
LOADED = ["load-configuration-results"]


async def loaded(call: Wire, operation: str) -> list[str]:
    """What stands in the results of a load."""
    reply = await call(operation)
    assert kinds(reply) == LOADED
    return kinds(bare(reply)[0])


async def compare(call: Wire, rollback: int = 0) -> str:
    reply = bare(await call(COMPARE.format(rollback)))
    return reply.findtext("configuration-information/configuration-output") or ""


async def test_set_commands_are_done_and_those_that_are_wrong_are_told(leaf: VirtualLeaf, call: Wire) -> None:
    commands = """
        set interfaces xe-0/0/0 description "a b" mtu 9000
        set interfaces xe-0/0/0 unit 0 family inet address 10.0.0.0/31 primary
        set interfaces xe-0/0/0 nonsense
        delete interfaces xe-0/0/1
        show interfaces
    """
    assert await loaded(call, SET.format(commands)) == [
        *("rpc-error warning", "rpc-error error", "rpc-error error"),
        "load-error-count",
    ]
    reply = await call(SET.format("set interfaces xe-0/0/0 nonsense"))
    assert told(reply, ".//error-message") == ["syntax error"]
    assert told(reply, ".//bad-element") == ["nonsense"]
    assert told(reply, ".//load-error-count") == ["1"]
    assert await compare(call) == "\n".join(
        (
            "[edit interfaces]",
            "+   xe-0/0/0 {",
            '+       description "a b";',
            "+       mtu 9000;",
            "+       unit 0 {",
            "+           family inet {",
            "+               address 10.0.0.0/31 {",
            "+                   primary;",
            "+               }",
            "+           }",
            "+       }",
            "+   }",
        )
    )
    assert leaf.dirty


async def test_what_is_deleted_and_not_there_is_worth_a_warning_beside_ok(call: Wire) -> None:
    reply = await call(XML.format("merge", '<system><host-name delete="delete"/><ntp delete="delete"/></system>'))
    assert kinds(bare(reply)[0]) == ["ok"]
    reply = await call(XML.format("merge", '<system><ntp delete="delete"/></system>'))
    assert kinds(bare(reply)[0]) == ["rpc-error warning", "ok"]
    assert told(reply, ".//error-message") == ["statement not found"]
    assert told(reply, ".//error-path") == ["[edit system]"]


async def test_xml_is_merged_replaced_or_put_in_place_of_all(leaf: VirtualLeaf, call: Wire) -> None:
    one = "<system><ntp{}><server><name>192.0.2.1</name></server></ntp></system>"
    servers = "system/ntp/server/name"

    def there() -> list[str | None]:
        return [name.text for name in leaf.candidate.iterfind(servers)]

    # With the action merge nothing is replaced.
    assert await loaded(call, XML.format("merge", one.format(' replace="replace"'))) == ["ok"]
    assert there() == ["192.0.2.123", "192.0.2.1"]
    assert await loaded(call, XML.format("replace", one.format(' replace="replace"'))) == ["ok"]
    assert there() == ["192.0.2.1"]
    assert leaf.candidate.find("interfaces") is not None
    assert await loaded(call, XML.format("override", one.format(""))) == ["ok"]
    assert [child.tag for child in leaf.candidate] == ["system"]
    assert await loaded(call, '<load-configuration rollback="0"/>') == ["ok"]
    assert (there(), leaf.dirty) == (["192.0.2.123"], False)


async def test_text_with_braces_is_loaded(leaf: VirtualLeaf, call: Wire) -> None:
    text = """
        /* ours */ system { ntp { server 192.0.2.1 prefer; delete: server 192.0.2.123; } }
        firewall { family inet { filter one { term a { from { source-address { 10.0.0.0/8; 11.0.0.0/8; }
            protocol [ tcp udp ]; } then accept; } } } }  # and theirs
        inactive: snmp { location "nowhere; really"; }
    """
    assert await loaded(call, TEXT.format("merge", text)) == ["ok"]
    reply = bare(
        await call('<get-configuration format="set"><configuration><firewall/></configuration></get-configuration>')
    )
    lines = (reply.findtext("configuration-set") or "").splitlines()
    assert "set firewall family inet filter one term a from source-address 11.0.0.0/8" in lines
    assert "set firewall family inet filter one term a from protocol udp" in lines
    reply = bare(await call('<get-configuration format="text"/>'))
    shown = reply.findtext("configuration-text") or ""
    assert 'inactive: snmp {\n    location "nowhere; really";\n}' in shown
    assert "server 192.0.2.1 prefer;" in shown
    assert "192.0.2.123" not in shown
    assert "protocol [ tcp udp ];" in shown
    assert await loaded(call, TEXT.format("replace", "system { replace: ntp { server 192.0.2.9; } }")) == ["ok"]
    assert [one.text for one in leaf.candidate.iterfind("system/ntp/server/name")] == ["192.0.2.9"]
    wrongs = (
        "system {",
        "system }",
        "nonsense;",
        "system { ntp }",
        "system ntp server;",
        '"',
        "system { host-name []; }",
    )
    for wrong in wrongs:
        assert await loaded(call, TEXT.format("merge", wrong)) == ["rpc-error error", "load-error-count"], wrong


async def test_a_commit_is_checked_logged_and_told_for_each_routing_engine(leaf: VirtualLeaf, call: Wire) -> None:
    assert await loaded(call, SET.format("set system host-name other")) == ["ok"]
    reply = bare(await call(COMMIT.format("<check/>")))
    assert kinds(reply) == ["commit-results", "ok"]
    assert reply.find("commit-results/routing-engine/commit-check-success") is not None
    assert leaf.commits == 0
    reply = bare(await call(COMMIT.format("<log>txn=7 gen=41</log><synchronize/>")))
    assert kinds(reply) == ["commit-results", "ok"]
    assert reply.find("commit-results/routing-engine/commit-success") is not None
    assert leaf.running.findtext("system/host-name") == "other"
    history = bare(await call("<get-commit-information/>"))
    newest = history.find("commit-information/commit-history")
    assert newest is not None
    said = [newest.findtext(tag) for tag in ("sequence-number", "user", "client", "log")]
    assert said == ["0", "rh", "netconf", "txn=7 gen=41"]
    assert await loaded(call, SET.format("set interfaces xe-0/0/0 unit 0 family inet filter input nobody")) == ["ok"]
    reply = await call(COMMIT.format(""))
    assert kinds(reply) == ["commit-results"]
    assert told(reply, "commit-results/rpc-error/error-message") == ["filter 'nobody' is not defined"]
    assert told(reply, "commit-results/rpc-error/error-path") == ["[edit interfaces xe-0/0/0 unit 0 family inet]"]
    assert told(await call(COMMIT.format("<at-time>noon</at-time>")), ".//bad-element") == ["at-time"]


async def test_a_confirmed_commit_counts_in_minutes_and_is_told_of_while_it_is_pending(
    leaf: VirtualLeaf, call: Wire
) -> None:
    assert await loaded(call, SET.format("set system host-name other")) == ["ok"]
    began = asyncio.get_running_loop().time()
    assert kinds(await call(COMMIT.format("<confirmed/><confirm-timeout>3</confirm-timeout>"))) == [
        "commit-results",
        "ok",
    ]
    assert leaf.trial is not None
    assert leaf.trial.timer.when() - began == pytest.approx(180, abs=5)
    history = await call("<get-commit-information/>")
    assert told(history, ".//comment") == ["commit confirmed, rollback in 3mins"]
    assert told(history, ".//commit-confirmed") == ["rollback pending"]
    assert kinds(await call(COMMIT.format(""))) == ["commit-results", "ok"]
    assert leaf.trial is None
    assert told(await call("<get-commit-information/>"), ".//commit-confirmed") == []


async def test_what_ran_before_is_shown_compared_and_loaded(leaf: VirtualLeaf, call: Wire) -> None:
    for name in ("one", "two"):
        assert await loaded(call, SET.format(f"set system host-name {name}")) == ["ok"]
        assert kinds(await call(COMMIT.format(""))) == ["commit-results", "ok"]
    assert await compare(call) == ""
    assert await compare(call, 1) == "[edit system]\n-  host-name one;\n+  host-name two;"
    rollback = "<get-rollback-information><rollback>{}</rollback>{}</get-rollback-information>"
    reply = bare(await call(rollback.format(1, "<format>text</format>")))
    assert "host-name one;" in (reply.findtext(".//configuration-output") or "")
    reply = bare(await call(rollback.format(0, "<compare>2</compare><format>text</format>")))
    assert "-  host-name leaf1;\n+  host-name two;" in (reply.findtext(".//configuration-output") or "")
    reply = bare(await call(rollback.format(2, "")))
    assert reply.findtext("rollback-information/configuration/system/host-name") == "leaf1"
    assert await loaded(call, '<load-configuration rollback="2"/>') == ["ok"]
    assert kinds(await call(COMMIT.format(""))) == ["commit-results", "ok"]
    assert leaf.running.findtext("system/host-name") == "leaf1"
    assert await loaded(call, '<load-configuration rollback="49"/>') == ["rpc-error error", "load-error-count"]


async def test_a_comparison_in_xml_is_the_edit_that_was_made(call: Wire) -> None:
    assert await loaded(call, SET.format("set system host-name other\ndelete system ntp")) == ["ok"]
    reply = await call('<get-configuration compare="rollback" rollback="0" format="xml"/>')
    changed = {
        (str(one.tag).rpartition("}")[2], operation)
        for one in reply.iter()
        for name, operation in one.attrib.items()
        if str(name).endswith("}operation")
    }
    assert changed == {("host-name", "delete"), ("host-name", "create"), ("ntp", "delete")}


async def test_junos_lock_is_the_candidates(leaf: VirtualLeaf, call: Wire) -> None:
    async with wire(leaf) as other:
        assert kinds(await other("<lock-configuration/>")) == ["ok"]
        assert kinds(await call("<lock-configuration/>")) == ["rpc-error error"]
        reply = await call(SET.format("set system host-name other"))
        assert f"locked by session {other.number}" in told(reply, ".//error-message")[0]
        assert await loaded(other, SET.format("set system host-name other")) == ["ok"]
        assert kinds(await other("<unlock-configuration/>")) == ["ok"]
    assert leaf.candidate.findtext("system/host-name") == "leaf1"


async def test_secrets_are_hidden_in_another_way_each_time(leaf: VirtualLeaf, call: Wire) -> None:
    secret = "set protocols bgp group hosts neighbor 10.0.0.1 authentication-key {}"
    shown = []
    for key in (*["swordfish"] * 9, '"two words"'):
        assert await loaded(call, SET.format(secret.format(key))) == ["ok"]
        reply = bare(await call("<get-configuration/>"))
        shown.append(reply.findtext(".//authentication-key") or "")
    assert [decode(one) for one in shown] == [*["swordfish"] * 9, "two words"]
    assert len(set(shown)) > 2  # by chance two may be alike, not all
    # What is hidden already is kept as it came.
    assert await loaded(call, SET.format(secret.format(f'"{shown[0]}"'))) == ["ok"]
    assert leaf.candidate.findtext(".//authentication-key") == shown[0]
    reply = bare(await call('<get-configuration format="text"/>'))
    assert f'authentication-key "{shown[0]}"; ## SECRET-DATA' in (reply.findtext("configuration-text") or "")


async def test_what_is_deactivated_is_kept_and_has_no_effect(leaf: VirtualLeaf, call: Wire) -> None:
    port = leaf.port_view("xe-0/0/0")
    on = "set interfaces xe-0/0/0 unit 0 family inet address 10.0.0.0/31"
    for command, links in ((on, 1), ("deactivate interfaces xe-0/0/0", 0), ("activate interfaces xe-0/0/0", 1)):
        assert await loaded(call, SET.format(command)) == ["ok"]
        assert kinds(await call(COMMIT.format(""))) == ["commit-results", "ok"]
        assert len(port.links) == links
        interfaces = (await call("<get-configuration/>"))[0][1]
        marked = [one for one in interfaces if one.get("inactive") == "inactive"]
        assert len(marked) == (not links)


async def test_a_configuration_is_shown_in_juniper_s_namespace_with_when_it_was_changed(call: Wire) -> None:
    xnm = "{http://xml.juniper.net/xnm/1.1/xnm}configuration"
    assert (await call("<get-configuration/>"))[0].tag == xnm
    assert (await call("<get-config><source><running/></source></get-config>"))[0][0].tag == xnm
    shown = bare((await call('<get-configuration database="committed"/>'))[0])
    assert int(shown.get("changed-seconds") or "") > 0
    assert (shown.get("changed-localtime") or "").endswith(" UTC")

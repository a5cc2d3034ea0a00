"""Somebody else's client against the virtual leaf: ncclient with its own handler for Junos, parser and all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ncclient.transport.session
import pytest
from ncclient import manager
from ncclient.operations.rpc import RPCError
from ncclient.xml_ import to_ele

from service.lab.leaf import Trials, VirtualLeaf

T = TypeVar("T")


@pytest.fixture(params=[Trials.NAMED, Trials.DEVICE])
async def leaf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VirtualLeaf]:
    # Our own client has no use for it and sets it to nearly never.
    monkeypatch.setattr(ncclient.transport.session, "TICK", 0.01)
    made = await VirtualLeaf.start("leaf1", ["xe-0/0/0"], username="rh", password="secret", trials=request.param)
    yield made
    await made.stop()


@contextmanager
def connected(leaf: VirtualLeaf) -> Iterator[Any]:
    with manager.connect(
        host=leaf.address,
        port=leaf.port,
        username="rh",
        password="secret",
        hostkey_b64=leaf.host_key.split()[1],
        allow_agent=False,
        look_for_keys=False,
        device_params={"name": "junos"},
        timeout=10,
    ) as session:
        yield session


async def with_client(leaf: VirtualLeaf, work: Callable[[Any], T]) -> T:
    def run() -> T:
        with connected(leaf) as session:
            return work(session)

    return await asyncio.to_thread(run)


async def test_it_loads_compares_checks_commits_and_rolls_back(leaf: VirtualLeaf) -> None:
    def work(session: Any) -> None:
        assert any("http://xml.juniper.net/netconf/junos/1.0" in one for one in session.server_capabilities)
        session.lock()
        session.load_configuration(action="set", config=["set system host-name one", "delete system ntp"])
        compared = session.compare_configuration(rollback=0)
        text = compared.xpath("//configuration-output")[0].text
        assert "-  host-name leaf1;\n+  host-name one;" in text
        session.validate()
        session.commit(comment="first")
        session.load_configuration(format="text", action="merge", config="system { host-name two; }")
        session.commit()
        session.load_configuration(
            format="xml", action="merge", config=to_ele("<system><host-name>three</host-name></system>")
        )
        session.discard_changes()
        assert session.compare_configuration(rollback=1).xpath("//configuration-output")[0].text.count("\n+") == 1
        session.rollback(rollback=2)
        session.commit()
        session.unlock()
        history = session.rpc(to_ele("<get-commit-information/>"))
        assert [one.text for one in history.xpath("//log")] == ["first"]

    await with_client(leaf, work)
    assert leaf.running.findtext("system/host-name") == "leaf1"
    assert leaf.running.find("system/ntp") is not None
    assert leaf.lock_holder is None


async def test_it_commits_on_trial_in_minutes_and_confirms(leaf: VirtualLeaf) -> None:
    def work(session: Any) -> None:
        session.load_configuration(action="set", config="set system host-name one")
        session.commit(confirmed=True, timeout="61")
        assert leaf.trial is not None
        assert session.rpc(to_ele("<get-commit-information/>")).xpath("//comment")[0].text == (
            "commit confirmed, rollback in 2mins"
        )
        session.commit()

    await with_client(leaf, work)
    assert leaf.trial is None
    assert leaf.running.findtext("system/host-name") == "one"


async def test_it_raises_what_the_leaf_refuses(leaf: VirtualLeaf) -> None:
    def work(session: Any) -> None:
        with pytest.raises(RPCError, match="syntax error"):
            session.load_configuration(action="set", config="set nonsense")
        with pytest.raises(RPCError, match="statement not found"):  # a warning, which it takes for an error
            session.load_configuration(action="set", config="delete protocols bgp")
        session.load_configuration(action="set", config="set interfaces lo0 unit 0 family inet filter input nobody")
        with pytest.raises(RPCError, match="is not defined"):
            session.commit()

    await with_client(leaf, work)
    assert leaf.commits == 0


async def test_it_reads_configuration_and_state(leaf: VirtualLeaf) -> None:
    def work(session: Any) -> None:
        everything = session.get_configuration(format="text")
        assert "host-name leaf1;" in everything.xpath("//configuration-text")[0].text
        wanted = "<configuration><interfaces><interface><name>lo0</name></interface></interfaces></configuration>"
        some = session.get_configuration(filter=to_ele(wanted))
        assert [one.text for one in some.xpath("//interface/name")] == ["lo0"]
        reply = session.get_config(source="running")
        assert reply.xpath("//host-name")[0].text == "leaf1"
        interfaces = session.rpc(to_ele("<get-interface-information><terse/></get-interface-information>"))
        assert [one.text.strip() for one in interfaces.xpath("//physical-interface/name")][-1] == "xe-0/0/0"
        with pytest.raises(RPCError, match="unknown operation command"):
            session.command("show version", format="xml")

    await with_client(leaf, work)

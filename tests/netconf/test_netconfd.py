"""The transaction against a NETCONF server that is not ours, Debian's netconfd behind OpenSSH: how the two get on."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import asyncssh
import pytest
from lxml import etree

from netconf.desired import Leaf, Port, Profile
from netconf.errors import LockedByOther, Refused, Unreachable
from netconf.owned import NETCONF, edit, name_of, owned_objects
from netconf.render import Element, configuration
from netconf.session import LeafAddress, LeafSession, open_session
from netconf.transaction import apply, apply_all
from tests.netconf.junos_models import NAMESPACES
from tests.netconf.lines import desired_lines, read_owned
from tests.netconf.netconfd import netconfd, why_not
from tests.netconf.test_transaction import leaf_of, port

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# Something of somebody else's wherever we write, so that even containers are left as they were.
FOREIGN = """<configuration>
 <system><host-name>leaf1</host-name></system>
 <interfaces>
  <interface><name>et-0/0/48</name><description>spine1</description><mtu>9216</mtu><unit><name>0</name><family><inet>
   <address><name>10.255.0.1/31</name></address></inet></family></unit></interface>
  <interface><name>xe-1/0/0</name><description>rhine office</description></interface>
  <interface><name>em0</name><unit><name>0</name><family><inet><filter><input><filter-name>protect-re</filter-name>
   </input></filter><address><name>10.255.255.12/32</name></address></inet></family></unit></interface>
 </interfaces>
 <forwarding-options><dhcp-relay>
  <server-group><server-group><name>office</name><address><name>192.0.2.99</name></address></server-group></server-group>
  <group><name>office</name><active-server-group><active-server-group>office</active-server-group></active-server-group>
   <interface><name>xe-1/0/0.0</name></interface></group>
  <dhcpv6><server-group><server-group><name>office</name><address><name>2001:db8::99</name></address></server-group>
   </server-group></dhcpv6></dhcp-relay></forwarding-options>
 <routing-options><autonomous-system><as-number>4200012001</as-number></autonomous-system>
  <static><route><name>192.0.2.0/24</name><next-hop>10.255.0.0</next-hop><tag><metric-value>7</metric-value></tag></route>
  </static>
  <rib><name>inet6.0</name><static><route><name>2001:db8:ffff::/48</name><discard/></route></static></rib>
 </routing-options>
 <protocols><router-advertisement><interface><name>xe-1/0/0.0</name></interface></router-advertisement>
  <lldp><interface><name>xe-1/0/0</name></interface></lldp>
  <bgp><group><name>office</name><type>external</type><neighbor><name>192.0.2.98</name>
   <peer-as>65001</peer-as></neighbor></group></bgp></protocols>
 <policy-options><prefix-list><name>operators</name><prefix-list-item><name>192.0.2.0/24</name></prefix-list-item>
 </prefix-list></policy-options>
 <firewall><family>
  <inet><filter><name>protect-re</name>
   <term><name>mgmt</name><from><source-prefix-list><name>operators</name></source-prefix-list></from>
    <then><accept/></then></term>
   <term><name>rest</name><then><discard/></then></term></filter></inet>
  <inet6><filter><name>protect-re6</name><term><name>rest</name><then><discard/></then></term></filter></inet6>
 </family></firewall>
</configuration>"""

STATES = (None, *Profile)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tries at a lock within a second."""
    monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 0.2)


@pytest.fixture(scope="module")
def server() -> Iterator[LeafAddress]:
    with netconfd() as made:
        yield made


@pytest.fixture
async def address(server: LeafAddress) -> LeafAddress:
    await as_found(server, FOREIGN)
    return server


async def as_found(server: LeafAddress, text: str) -> None:
    """Have the server run this and nothing else, whatever a test before has left."""
    document = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    for tag in NAMESPACES.keys() - {"configuration"}:
        statement = document.find(tag)
        operation = "remove" if statement is None else "replace"
        (etree.SubElement(document, tag) if statement is None else statement).set(f"{{{NETCONF}}}operation", operation)
    async with open_session(server) as session:
        with suppress(Refused):
            await session.cancel_commit("roundhouse-leaf1")
        await session.discard_changes()
        await session.edit_candidate(document)
        await session.confirm(None)


def canonical(element: Element) -> bytes:
    bare = copy.deepcopy(element)
    for one in bare.iter():
        one.text, one.tail = (one.text or "").strip() or None, None
    return etree.tostring(bare, method="c14n")


async def foreign(session: LeafSession) -> bytes:
    """What runs without what the tests' leaves put there, told by names alone."""
    running = copy.deepcopy(await session.get_config("running"))
    for entry in list(running.iter()):
        name = name_of(entry)
        routed = name.startswith(("203.0.113.", "2001:db8:e000:", "198.18.0."))
        if name == "rh" or name.startswith(("rh4-", "rh6-", "rh-", "xe-0/0/", "et-0/0/5", "lo0")) or routed:
            parent = entry.getparent()
            assert parent is not None
            parent.remove(entry)
    return canonical(running)


async def become(session: LeafSession, wanted: Leaf) -> None:
    applied = await apply(session, wanted)
    assert applied.changed
    assert await read_owned(session) == desired_lines(wanted)


async def load(session: LeafSession, wanted: Leaf) -> None:
    """Bring a change into the candidate as the transaction does, and go no further."""
    running = owned_objects(await session.get_config("running"))
    change = edit(owned_objects(configuration(wanted)), running)
    assert change is not None
    await session.edit_candidate(change)


async def test_a_leaf_becomes_what_is_desired_and_then_needs_no_commit(address: LeafAddress) -> None:
    wanted = leaf_of(*(port(number, Profile.ACTIVE) for number in range(8)))
    async with open_session(address) as session, open_session(address) as operator:
        before = await foreign(session)
        await become(session, wanted)
        # While another session holds the lock the server would refuse any commit.
        await operator.lock()
        again = await apply(session, wanted)
        assert (again.changed, again.added, again.removed) == (False, (), ())
        assert await foreign(session) == before


async def test_every_step_from_profile_to_profile_leaves_the_rest_as_it_was(address: LeafAddress) -> None:
    async with open_session(address) as session:
        at_first = canonical(await session.get_config("running"))
        before = await foreign(session)
        for old in STATES:
            # Port 7 is always there; ports 0 to 3 go from `old` to each of the states, "not there" among them.
            before_step = [port(number, old) for number in range(4) if old is not None]
            after_step = [port(number, new, 2) for number, new in enumerate(STATES) if new is not None]
            for generation, ports in enumerate((before_step, after_step), 1):
                wanted = leaf_of(port(7, Profile.ACTIVE, generation), *ports)
                await become(session, wanted)
                assert await foreign(session) == before
        await become(session, leaf_of())
        assert canonical(await session.get_config("running")) == at_first


async def test_after_this_servers_validate_a_commit_says_ok_and_does_nothing(address: LeafAddress) -> None:
    """Its own calls, for the record; that the transaction gets through all the same is what the other tests show."""
    wanted = leaf_of(port(0, Profile.ACTIVE))
    async with open_session(address) as session:
        assert session.validates
        await session.lock()
        await load(session, wanted)
        await session.validate()
        candidate = owned_objects(await session.get_config("candidate"))
        assert candidate.keys() == owned_objects(configuration(wanted)).keys()  # it still looks as if all were well
        await session.confirm(None)
        assert await read_owned(session) == []
        await session.unlock()
        await become(session, wanted)


async def test_a_refusal_carries_the_servers_reason_and_path_and_leaves_nothing(address: LeafAddress) -> None:
    bogus = Port("ge-zero", Profile.QUARANTINE, port(0, Profile.QUARANTINE).links, 1, "m0")
    async with open_session(address) as session, open_session(address) as other:
        with pytest.raises(Refused, match=r"pattern.*interface\[.*ge-zero") as refused:
            await apply(session, leaf_of(port(1, Profile.ACTIVE), bogus))
        assert "interfaces" in refused.value.path
        assert await read_owned(session) == []
        await become(other, leaf_of(port(1, Profile.ACTIVE)))  # neither a lock nor a dirty candidate is left


async def test_a_port_that_the_server_refuses_holds_up_no_other_one(address: LeafAddress) -> None:
    good = [port(number, Profile.ACTIVE) for number in range(3)]
    bogus = Port("ge-zero", Profile.QUARANTINE, port(7, Profile.QUARANTINE).links, 1, "m7")
    async with open_session(address) as session:
        before = await foreign(session)
        applied = await apply_all(session, leaf_of(*good, bogus))
        assert applied.refused.keys() == {"ge-zero"}
        assert "pattern" in applied.refused["ge-zero"]
        assert await read_owned(session) == desired_lines(leaf_of(*good))
        assert await foreign(session) == before


async def test_a_foreign_lock_is_named_and_waited_for(address: LeafAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = leaf_of(port(0, Profile.ACTIVE))
    async with open_session(address) as session, open_session(address) as operator:
        await operator.lock()
        with pytest.raises(LockedByOther, match=rf"session {operator.session_id}\b"):
            await apply(session, wanted)
        monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 1.0)
        changing = asyncio.create_task(apply(session, wanted))
        await asyncio.sleep(0.3)
        await operator.unlock()
        assert (await changing).changed


async def test_an_operators_uncommitted_work_counts_as_a_lock_and_is_not_thrown_away(address: LeafAddress) -> None:
    work = etree.fromstring("<configuration><system><host-name>leaf1-new</host-name></system></configuration>")
    async with open_session(address) as session, open_session(address) as operator:
        await operator.edit_candidate(work)
        with pytest.raises(LockedByOther, match="discard-changes needed"):
            await apply(session, leaf_of(port(0, Profile.ACTIVE)))
        assert b"leaf1-new" in etree.tostring(await operator.get_config("candidate"))


async def test_a_trial_whose_controller_died_is_not_taken_for_done(address: LeafAddress) -> None:
    wanted = leaf_of(port(0, Profile.ACTIVE), port(5, Profile.QUARANTINE))
    trial_s = 3
    async with open_session(address) as session:
        async with open_session(address) as dying:
            await dying.lock()
            await load(dying, wanted)
            assert dying.persists
            await dying.commit_confirmed(trial_s, "roundhouse-leaf1")
        assert await read_owned(session) == desired_lines(wanted)  # as it should be, but only until the timer
        await apply(session, wanted)
        await asyncio.sleep(trial_s + 0.5)
        assert await read_owned(session) == desired_lines(wanted)


async def test_a_trial_of_the_same_session_is_not_taken_for_done_either(address: LeafAddress) -> None:
    wanted = leaf_of(port(0, Profile.ACTIVE))
    trial_s = 2
    async with open_session(address) as session:
        await apply(session, leaf_of())  # what an earlier session left is settled
        await load(session, wanted)
        await session.commit_confirmed(trial_s, "roundhouse-leaf1")
        await apply(session, wanted)
        await asyncio.sleep(trial_s + 0.5)
        assert await read_owned(session) == desired_lines(wanted)


async def test_a_trial_that_nobody_takes_up_is_taken_back_by_the_server(address: LeafAddress) -> None:
    """What the test before this one relies on."""
    async with open_session(address) as session:
        before = canonical(await session.get_config("running"))
        await load(session, leaf_of(port(0, Profile.ACTIVE)))
        trial_s = 2
        await session.commit_confirmed(trial_s, "roundhouse-leaf1")
        assert await read_owned(session)
        async with asyncio.timeout(120):
            while canonical(await session.get_config("running")) != before:
                await asyncio.sleep(trial_s + 0.5)  # it looks at its timers when nobody has asked it for a second


async def test_a_wrong_key_or_host_key_opens_nothing(address: LeafAddress) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    for wrong in (
        replace(address, private_key=other.export_private_key().decode()),
        replace(address, private_key="", password="guess"),
        replace(address, host_key=other.export_public_key().decode()),
    ):
        with pytest.raises(Unreachable):
            async with open_session(wrong):
                pass

"""Which words of a reply are an error and which are a yes, in the forms that Junos gives them."""

from __future__ import annotations

import pytest
from lxml import etree

from netconf.errors import LockedByOther, Refused
from netconf.lldp import LldpNeighbor, neighbors_in
from netconf.owned import NETCONF
from netconf.replies import raise_for

_ERROR = "<rpc-error><error-severity>error</error-severity><error-message>{}</error-message></rpc-error>"
_WARNING = "<rpc-error><error-severity>warning</error-severity><error-message>{}</error-message></rpc-error>"


def read(content: str, *, must_say_ok: bool = True) -> None:
    reply = f'<rpc-reply xmlns="{NETCONF}" xmlns:xnm="http://xml.juniper.net/xnm/1.1/xnm">{content}</rpc-reply>'
    raise_for(etree.fromstring(reply), must_say_ok=must_say_ok)


@pytest.mark.parametrize(
    "content",
    [
        _ERROR.format("no such statement"),
        f"{_WARNING.format('old')}{_ERROR.format('no such statement')}",
        f"<commit-results>{_ERROR.format('no such statement')}</commit-results><ok/>",
        "<commit-results><routing-engine><name>re0</name><commit-success/></routing-engine><routing-engine>"
        f"<name>re1</name>{_ERROR.format('no such statement')}</routing-engine></commit-results><ok/>",
        "<multi-routing-engine-results><multi-routing-engine-item><re-name>fpc1</re-name><commit-results>"
        f"{_ERROR.format('no such statement')}</commit-results></multi-routing-engine-item>"
        "</multi-routing-engine-results><ok/>",
        f"<load-configuration-results>{_ERROR.format('no such statement')}<load-error-count>1</load-error-count>"
        "</load-configuration-results>",
    ],
)
def test_an_error_is_found_wherever_junos_puts_it(content: str) -> None:
    with pytest.raises(Refused, match="no such statement"):
        read(content)


@pytest.mark.parametrize(
    "content", ["<xnm:error><message>bad</message></xnm:error>", "<load-error-count>1</load-error-count>"]
)
def test_junos_own_errors_are_errors(content: str) -> None:
    with pytest.raises(Refused):
        read(f"{content}<ok/>")
    with pytest.raises(Refused):
        read(f"<load-configuration-results>{content}<load-success/></load-configuration-results>")


@pytest.mark.parametrize(
    "content",
    [
        "<ok/>",
        "<commit-results><routing-engine><name>re0</name><commit-success/></routing-engine></commit-results>",
        f"<load-configuration-results>{_WARNING.format('not found')}<load-success/></load-configuration-results>",
    ],
)
def test_a_yes_is_a_yes_and_a_warning_is_no_error(content: str) -> None:
    read(content)


@pytest.mark.parametrize("holder", ["data", "configuration"])
def test_what_a_configuration_says_is_neither_error_nor_yes(holder: str) -> None:
    statements = f"<error>log</error>{_ERROR.format('x')}<load-error-count>1</load-error-count><ok/>"
    content = f"<{holder}><system>{statements}</system></{holder}>"
    read(content, must_say_ok=False)
    with pytest.raises(Refused, match="neither yes nor no"):
        read(content)
    with pytest.raises(LockedByOther, match="locked by root"):
        read(content + _ERROR.format("configuration database locked by root"), must_say_ok=False)


def test_lldp_neighbours_are_read_in_the_words_of_old_and_new_releases() -> None:
    reply = etree.fromstring(
        f'''<rpc-reply xmlns="{NETCONF}">
<lldp-neighbors-information xmlns="http://xml.juniper.net/junos/21.4R1/junos-l2cpd" style="brief">
 <lldp-neighbor-information>
  <lldp-local-port-id>xe-0/0/12</lldp-local-port-id>
  <lldp-local-parent-interface-name>-</lldp-local-parent-interface-name>
  <lldp-remote-chassis-id-subtype>Mac address</lldp-remote-chassis-id-subtype>
  <lldp-remote-chassis-id>3C:EC:EF:00:00:01</lldp-remote-chassis-id>
  <lldp-remote-port-description>eth0</lldp-remote-port-description>
  <lldp-remote-system-name>m0001</lldp-remote-system-name>
 </lldp-neighbor-information>
 <lldp-neighbor-information>
  <lldp-local-interface>ge-0/0/1.0</lldp-local-interface>
  <lldp-remote-chassis-id>3c:ec:ef:00:00:02</lldp-remote-chassis-id>
  <lldp-remote-port-id>3c:ec:ef:00:00:03</lldp-remote-port-id>
 </lldp-neighbor-information>
</lldp-neighbors-information></rpc-reply>'''
    )
    assert neighbors_in(reply) == (
        LldpNeighbor("ge-0/0/1", "3c:ec:ef:00:00:02", port_id="3c:ec:ef:00:00:03"),
        LldpNeighbor("xe-0/0/12", "3c:ec:ef:00:00:01", port_description="eth0", system_name="m0001"),
    )


def test_an_answer_without_neighbours_has_none() -> None:
    assert (
        neighbors_in(etree.fromstring(f'<rpc-reply xmlns="{NETCONF}"><lldp-neighbors-information/></rpc-reply>')) == ()
    )


_LOCKED = """
configuration database locked by:
  lab terminal  (pid 50198) on since 2017-07-27 01:21:33 UTC, idle 01:00:51
      exclusive
"""


@pytest.mark.parametrize(
    ("content", "session", "user", "said"),
    [
        (_ERROR.format(_LOCKED), "50198", "lab", "idle 01:00:51 exclusive"),
        (f"<xnm:error><message>{_LOCKED}</message></xnm:error>", "50198", "lab", "idle 01:00:51 exclusive"),
        (
            "<rpc-error><error-tag>lock-denied</error-tag><error-severity>error</error-severity>"
            "<error-message>Lock failed</error-message><error-info><session-id>7</session-id></error-info></rpc-error>",
            "7",
            "",
            "session 7: Lock failed",
        ),
        (
            "<rpc-error><error-tag>lock-denied</error-tag><error-severity>error</error-severity>"
            "<error-message>Lock failed</error-message><error-info><session-id>0</session-id></error-info></rpc-error>",
            "",
            "",
            "Lock failed",
        ),
        (_ERROR.format("shared configuration database modified"), "", "", "modified"),
    ],
)
def test_who_holds_the_candidate_is_read_from_what_the_leaf_says(
    content: str, session: str, user: str, said: str
) -> None:
    with pytest.raises(LockedByOther, match=said) as held:
        read(content)
    assert (held.value.session, held.value.user) == (session, user)

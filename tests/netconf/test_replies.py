"""Which words of a reply are an error and which are a yes, in the forms that Junos gives them."""

from __future__ import annotations

import pytest
from lxml import etree

from netconf.errors import LockedByOther, Refused
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

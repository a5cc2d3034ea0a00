"""A whole leaf and a new leaf's first configuration as they are rendered, kept in files for people to read.

To renew them after a change that was meant: python -m tests.netconf.test_golden
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from lxml import etree

from netconf.bootstrap import Login, Management, bootstrap, first_configuration
from netconf.curly import text
from netconf.desired import Leaf, LinkRole, Profile
from netconf.owned import desired_objects, owned_objects, plain, set_lines
from netconf.render import Element, configuration
from netconf.session import LeafAddress, open_session
from netconf.statements import configuration_lines
from tests.netconf.junos_models import dangling
from tests.netconf.leaves import FABRIC, boot6_of, leaf_of, port_of, session_of
from tests.netconf.netconfd import netconfd, why_not

DIRECTORY = Path(__file__).with_name("golden")
_KEY = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)
LOGIN = Login("roundhouse", "$6$salt$" + "x" * 86, (f"ssh-ed25519 {b64encode(_KEY).decode()} roundhouse",))
MANAGEMENT = Management(
    "em0",
    ip_interface("192.0.2.130/25"),
    ip_address("192.0.2.129"),
    (ip_address("192.0.2.53"),),
    (ip_address("192.0.2.123"), ip_address("192.0.2.124")),
)


def whole_leaf() -> Leaf:
    """Ports of every profile, booting by IPv4, IPv6 and both; elastic blocks of both families, anycast by route and by
    BGP, and the fabric."""
    own = ("203.0.113.9/32", "203.0.113.64/28", "2001:db8:e000:9::/64")
    anycast = ip_network("198.18.7.0/24")
    return leaf_of(
        port_of(0, Profile.QUARANTINE),
        replace(one := port_of(1, Profile.PROVISIONING, 2), links=(boot6_of(1), *one.links)),
        replace(port_of(2, Profile.ACTIVE, 3), elastic=(*map(ip_network, own), anycast)),
        replace(port_of(3, Profile.RESCUE, 4), elastic=(anycast,), bgp=(session_of(3, LinkRole.IPV6, blocks=False),)),
        replace(port_of(4, Profile.MAINTENANCE, 5), links=(boot6_of(4),)),
        replace(
            port_of(5, Profile.ACTIVE, 6),
            bgp=(
                session_of(5, LinkRole.PRIVATE, password="a secret"),
                session_of(5, LinkRole.IPV6, default_route=False, password="another secret"),
            ),
        ),
        fabric=FABRIC,
    )


def rendered() -> dict[str, str]:
    """The files by name."""
    leaf = whole_leaf()
    root = configuration(leaf)
    return {
        "leaf.xml": etree.tostring(root, pretty_print=True, encoding="unicode"),
        "leaf.set": "".join(f"{line}\n" for line in set_lines(desired_objects(leaf))),
        "leaf.conf": text(root),
        "bootstrap.conf": bootstrap(leaf, LOGIN, MANAGEMENT),
    }


@pytest.mark.parametrize("name", sorted(rendered()))
def test_it_is_rendered_as_it_was_reviewed(name: str) -> None:
    assert rendered()[name].splitlines() == (DIRECTORY / name).read_text().splitlines()


def _lines_of(conf: str) -> Iterator[str]:
    """Junos' text form as `set` statements, read by its own rules: what follows a brace is below what precedes it."""
    above: list[str] = []
    for line in conf.splitlines():
        said = line.strip()
        if said == "}":
            above.pop()
        elif said.endswith(" {"):
            above.append(said[:-2])
        else:
            assert said.endswith(";"), line
            words, bracket, values = said[:-1].partition(" [ ")
            if bracket:
                yield from (" ".join([*above, words, value]) for value in values.removesuffix(" ]").split())
            elif words.startswith("local-as "):
                yield from (" ".join([*above, "local-as", value]) for value in words.split()[1:])
            else:
                yield " ".join([*above, words])
    assert above == []


def test_text_and_set_form_say_the_same() -> None:
    root = first_configuration(whole_leaf(), LOGIN, MANAGEMENT)
    said = list(_lines_of(bootstrap(whole_leaf(), LOGIN, MANAGEMENT)))
    hidden = [
        f'{line.partition("encrypted-password")[0]}encrypted-password "## SECRET-DATA"' if "$6$" in line else line
        for line in said
    ]
    assert sorted(f"set {line}" for line in hidden) == sorted(configuration_lines(root))


def test_a_new_leaf_has_all_of_ours_but_the_sessions_with_hosts() -> None:
    leaf = whole_leaf()
    spoken = replace(leaf, ports=tuple(replace(port, bgp=()) for port in leaf.ports))
    first = owned_objects(first_configuration(leaf, LOGIN, MANAGEMENT))
    assert set_lines(first) == set_lines(desired_objects(spoken))
    conf = bootstrap(leaf, LOGIN, MANAGEMENT)
    assert "secret" not in conf.replace("secret-control", "")
    assert dangling(plain(first_configuration(leaf, LOGIN, MANAGEMENT))) == []


@pytest.fixture(scope="module")
def server() -> Iterator[LeafAddress]:
    with netconfd() as made:
        yield made


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("which", ["leaf", "bootstrap"])
async def test_a_server_with_junipers_models_takes_all_of_it(server: LeafAddress, which: str) -> None:
    made: Element = configuration(whole_leaf())
    if which == "bootstrap":
        made = first_configuration(whole_leaf(), LOGIN, MANAGEMENT)
        instances = made.find("routing-instances")  # the models at hand are without
        assert instances is not None
        made.remove(instances)
    async with open_session(server) as session:
        await session.discard_changes()
        await session.edit_candidate(made)
        seen = plain(await session.get_config("candidate"))
        await session.validate()
        await session.discard_changes()
    for child in plain(made):
        found = seen.find(str(child.tag))
        assert found is not None
        assert etree.tostring(found) == etree.tostring(child)


if __name__ == "__main__":
    for name, content in rendered().items():
        (DIRECTORY / name).write_text(content)

"""Nothing in an order breaks out of the files that it is put in."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.catalogue import System, load_catalogue
from images.native import CannotExpress, Rendered, finish, render
from images.protocol import Wish
from tests.images.native.matrix import NETWORKS, SOURCES, STORAGES, wish

SYSTEMS = [system for system in load_catalogue() if "native" in system.engines]

WORDS = [
    "'",
    '"',
    "\\",
    "\n",
    "EOF",
    "\nEOF\n",
    "%end",
    "\n%end\n",
    "END",
    "$(id)",
    "`id`",
    "${x}",
    "{{ x }}",
    "{% x %}",
]
WORDS += ["d-i x/y string z", "\nd-i x/y string z\n", "#", " ", ";", "&", "|", "@DISK0@", "é", "\u2028", "\t", "\r\n"]
hostile = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), max_size=8).map("".join)
clean = hostile.filter(lambda text: all(letter < "\ud800" or letter > "\udfff" for letter in text))


def ordered(**changes: object) -> Wish:
    """An order with something hostile in it."""
    base = wish(STORAGES["one disk"], NETWORKS["both"], "")
    made: Wish = {**base, **changes}  # type: ignore[typeddict-item]
    return made


def skeleton(rendered: Rendered) -> dict[str, str]:
    """The files without their words of base64, which alone may differ from order to order."""
    word = re.compile(r"(?<=')[A-Za-z0-9+/=]*(?=')|(?<=;base64,)[A-Za-z0-9+/=]*")
    return {name: word.sub("WORD", text) for name, text in rendered.files.items()}


@settings(max_examples=40, deadline=None)
@given(clean, clean)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.slug)
def test_keys_and_user_data_change_nothing_but_words_of_base64(system: System, key: str, userdata: str) -> None:
    ignited = system.distro in ("coreos", "flatcar")
    text = json.dumps({"ignition": {"version": "3.0.0"}, "x": userdata}) if ignited else f"x{userdata}"
    plain = json.dumps({"ignition": {"version": "3.0.0"}}) if ignited else "x"
    one = skeleton(render(system, ordered(ssh_keys=[key], userdata=text), SOURCES))
    other = skeleton(render(system, ordered(ssh_keys=["ssh-ed25519 AAAA"], userdata=plain), SOURCES))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(hostile)
@pytest.mark.parametrize("system", [SYSTEMS[0], SYSTEMS[-1]], ids=lambda system: system.slug)
def test_a_hostname_is_a_hostname_or_is_refused(system: System, hostname: str) -> None:
    try:
        render(system, ordered(hostname=hostname), SOURCES)
    except CannotExpress as err:
        assert str(err).startswith(f"hostname {hostname!r}: allowed are letters, digits and hyphens")
    else:
        assert re.fullmatch(r"[A-Za-z0-9.-]+", hostname)


@settings(max_examples=60, deadline=None)
@given(hostile)
@pytest.mark.parametrize("system", [SYSTEMS[0], SYSTEMS[-1]], ids=lambda system: system.slug)
def test_a_password_hash_is_one_or_is_refused(system: System, word: str) -> None:
    try:
        render(system, ordered(password_hash=word), SOURCES)
    except CannotExpress as err:
        assert str(err).startswith("password_hash: ")
    else:
        assert re.fullmatch(r"[!-9;-~]*", word)


@settings(max_examples=25, deadline=None)
@given(st.lists(clean, max_size=3), clean)
def test_the_last_script_writes_what_was_ordered(keys: list[str], userdata: str) -> None:
    system = load_catalogue().get("debian_12")
    asked = ordered(ssh_keys=keys, userdata=userdata)
    script = finish.script(system, asked, SOURCES)
    # bash itself takes the calls apart; nothing of an order is run.
    calls = re.findall(r"^put \d+ \S+ .*$", script, re.MULTILINE)
    shown = 'put() { printf "%s\\0%s\\0" "$3" "$4"; }\n' + "\n".join(calls)
    done = subprocess.run(["bash", "-c", shown], capture_output=True, timeout=120, check=True)
    words = done.stdout.split(b"\0")[:-1]
    written = {
        path.decode(): base64.b64decode(text).decode() for path, text in zip(words[::2], words[1::2], strict=True)
    }
    expected = {file.path: file.text for file in finish.system_files(system, asked) if not file.link}
    del expected["/etc/machine-id"]
    assert written == expected


@given(clean)
def test_a_passphrase_with_control_characters_is_refused(text: str) -> None:
    storage = {**STORAGES["LVM"], "passphrase": f"{text}\n"}
    with pytest.raises(CannotExpress, match=r"^storage\.passphrase: "):
        render(load_catalogue().get("ubuntu_24_04"), ordered(storage=storage), SOURCES)

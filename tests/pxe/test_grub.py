"""GRUB configurations as text: nothing that an order or a setting brings becomes a command of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Script, Target
from pxe.grub import first_files, render
from pxe.ipxe import Unsafe


def installer(**changes: object) -> Script:
    fields = {
        "kernel_url": "http://192.0.2.10/images/abc",
        "initrd_urls": ("http://192.0.2.10/images/def", "http://192.0.2.10/images/ghi"),
        "cmdline": "console=ttyS0 roundhouse.token=abc",
    }
    return Script(Target.INSTALLER, **(fields | changes))  # type: ignore[arg-type]


SCRIPTS = {
    "installer": installer(),
    "no-initrd": installer(initrd_urls=()),
    "local-disk": Script(Target.LOCAL_DISK),
    "custom": Script(Target.CUSTOM_IPXE, custom="#!ipxe\nshell"),
    "wait": Script(Target.WAIT),
}


def test_the_installer() -> None:
    text = render(installer())
    assert "if linux '(http,192.0.2.10)/images/abc' 'console=ttyS0' 'roundhouse.token=abc'; then" in text
    assert "if initrd '(http,192.0.2.10)/images/def' '(http,192.0.2.10)/images/ghi'; then" in text
    assert text.splitlines()[-1] == "reboot"


def test_the_first_configuration_asks_the_service() -> None:
    assert b"source '(http,192.0.2.10)/boot/grub'" in first_files("http://192.0.2.10/")["grub/grub.cfg"]
    assert b"(http,[fd00::1])/boot/grub" in first_files("http://[fd00::1]:80")["grub/grub.cfg"]


def test_a_custom_script_is_not_run_and_said_so() -> None:
    text = render(SCRIPTS["custom"])
    assert "Secure Boot" in text
    assert "shell" not in text


@pytest.mark.parametrize(
    "url",
    ["", "https://192.0.2.10/", "http://192.0.2.10:8080/", "http://a b/", "http://h)/", "http://h:x/", "http://u@h/"],
)
def test_what_grub_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(Unsafe):
        first_files(url)


@pytest.mark.parametrize("cmdline", ["a'b", 'a"b', "a\\b", "a \x1b[2J", "ä"])
def test_what_grub_cannot_carry_is_refused(cmdline: str) -> None:
    with pytest.raises(Unsafe):
        render(installer(cmdline=cmdline))


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_configuration_keeps_its_lines(path: str, cmdline: str) -> None:
    plain = render(installer()).splitlines()
    try:
        lines = render(installer(kernel_url="http://h/" + path, cmdline=cmdline)).splitlines()
    except Unsafe:
        return
    assert len(lines) == len(plain)
    assert [line for line in lines if line not in plain] == [lines[1]]
    pieces = lines[1].split("'")
    # Between the quotes stand the file and the words; outside of them there are only spaces, and what was there before.
    assert pieces[0].strip() == "if linux"
    assert pieces[-1] == "; then"
    assert all(gap == " " for gap in pieces[2:-1:2])
    assert pieces[3:-1:2] == cmdline.split()


@pytest.mark.skipif(shutil.which("grub-script-check") is None, reason="needs the package grub-common")
@pytest.mark.parametrize("name", [*SCRIPTS, "first"])
def test_grub_itself_can_read_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / "grub.cfg"
    file.write_bytes(
        first_files("http://192.0.2.10")["grub/grub.cfg"] if name == "first" else render(SCRIPTS[name]).encode()
    )
    subprocess.run(["grub-script-check", file], check=True)

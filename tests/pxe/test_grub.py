"""GRUB configurations as text: nothing that an order or a setting brings becomes a command of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Script, Target
from pxe.grub import FIRST_FILES, render, service_file
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


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://192.0.2.10", b"service='http,192.0.2.10'\n"),
        ("http://192.0.2.10:8080", b"service='http,192.0.2.10:8080'\n"),
        ("http://boot.example.net/", b"service='http,boot.example.net'\n"),
        ("http://[2001:db8::10]:8080", b"service='http,[2001:db8::10]:8080'\n"),
    ],
)
def test_where_the_service_is(url: str, says: bytes) -> None:
    assert service_file(url) == says


@pytest.mark.parametrize(
    "url",
    [
        "https://192.0.2.10",
        "http://192.0.2.10/below",
        "http://a'b",
        "http://u@192.0.2.10",
        "http://[::1",
        "192.0.2.10",
        "",
    ],
)
def test_what_is_no_http_server_is_no_service(url: str) -> None:
    with pytest.raises(Unsafe, match="not a"):
        service_file(url)


def test_the_installer() -> None:
    text = render(installer())
    assert "if linux ($root)'/images/abc' 'console=ttyS0' 'roundhouse.token=abc'; then" in text
    assert "if initrd ($root)'/images/def' ($root)'/images/ghi'; then" in text
    assert text.splitlines()[-1] == "reboot"


def test_a_custom_script_is_not_run_and_said_so() -> None:
    text = render(SCRIPTS["custom"])
    assert "Secure Boot" in text
    assert "shell" not in text


@pytest.mark.parametrize(
    "url",
    ["", "tftp://192.0.2.10/k", "http://192.0.2.10", "http://192.0.2.10/", "http:///k", "http://[/k", "http://h/k?q"],
)
def test_what_is_no_file_of_the_service_is_refused(url: str) -> None:
    with pytest.raises(Unsafe):
        render(installer(kernel_url=url))


@pytest.mark.parametrize("cmdline", ["a'b", 'a"b', "a\\b", "a \x1b[2J", "ä"])
def test_what_grub_cannot_carry_is_refused(cmdline: str) -> None:
    with pytest.raises(Unsafe):
        render(installer(cmdline=cmdline))


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_configuration_keeps_its_lines(path: str, cmdline: str) -> None:
    plain = render(installer()).splitlines()
    try:
        lines = render(installer(kernel_url="http://h/k" + path, cmdline=cmdline)).splitlines()
    except Unsafe:
        return
    assert len(lines) == len(plain)
    assert lines[:1] + lines[2:] == plain[:1] + plain[2:]
    pieces = lines[1].split("'")
    # Between the quotes stand the file and the words; outside of them there is nothing that was not there before.
    assert pieces[0] == "  if linux ($root)"
    assert pieces[-1] == "; then"
    assert all(gap == " " for gap in pieces[2:-1:2])
    assert pieces[3:-1:2] == cmdline.split()


@pytest.mark.skipif(shutil.which("grub-script-check") is None, reason="needs the package grub-common")
@pytest.mark.parametrize("name", [*SCRIPTS, "first"])
def test_grub_itself_can_read_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / "grub.cfg"
    file.write_bytes(FIRST_FILES["grub/grub.cfg"] if name == "first" else render(SCRIPTS[name]).encode())
    subprocess.run(["grub-script-check", file], check=True)

"""iPXE scripts as text: nothing a customer or a setting brings becomes a command of its own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import LocalBoot, Script, Target
from pxe.ipxe import QUIRKS, Unsafe, render
from service.lab.ipxe_script import Foreign, LocalDisk, NextDevice, Outcome, ScriptRun


def installer(**changes: object) -> Script:
    fields = {
        "kernel_url": "http://192.0.2.10/boot/files/vmlinuz",
        "initrd_urls": ("http://192.0.2.10/boot/files/initrd",),
        "cmdline": "console=ttyS0 roundhouse.token=abc",
    }
    return Script(Target.INSTALLER, **(fields | changes))  # type: ignore[arg-type]


def test_the_installer() -> None:
    lines = render(installer()).splitlines()
    assert lines[0] == "#!ipxe"
    assert (
        "kernel http://192.0.2.10/boot/files/vmlinuz initrd=initrd0 console=ttyS0 roundhouse.token=abc || goto again"
        in lines
    )
    assert "initrd --name initrd0 http://192.0.2.10/boot/files/initrd || goto again" in lines
    assert lines.index("boot || goto again") < lines.index(":again") < lines.index("goto load")


def test_a_way_to_the_disk_that_was_told_is_taken() -> None:
    assert render(Script(Target.LOCAL_DISK, local_boot=LocalBoot.EXIT)) == "#!ipxe\nexit 1\n"
    sanboot = render(Script(Target.LOCAL_DISK, local_boot=LocalBoot.SANBOOT)).splitlines()
    assert sanboot == ["#!ipxe", "sanboot --no-describe --drive 0x80 ||", "exit 1"]
    chain = render(Script(Target.LOCAL_DISK, local_boot=LocalBoot.CHAIN_EFI)).splitlines()
    assert chain == ["#!ipxe", "chain --autofree files/local-disk.efi ||", "exit 1"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"platform": "efi", "manufacturer": "QEMU", "product": "PC"}, NextDevice(1), id="efi"),
        pytest.param({"platform": "efi"}, NextDevice(1), id="efi-without-smbios"),
        pytest.param({"platform": "pcbios", "manufacturer": "QEMU", "product": "PC"}, LocalDisk(), id="bios"),
        pytest.param(
            {"platform": "efi", "manufacturer": "VMware, Inc.", "product": "VMware20,1"}, Foreign(), id="vmware"
        ),
        pytest.param({"platform": "pcbios", "manufacturer": "VMware, Inc."}, LocalDisk(), id="vmware-bios"),
        pytest.param({"platform": "efi", "manufacturer": "Lenovo", "product": "HS350X V3"}, Foreign(), id="lenovo"),
        pytest.param(
            {"platform": "efi", "manufacturer": "Lenovo", "product": "SR650 V3"}, NextDevice(1), id="lenovo-other"
        ),
    ],
)
def test_the_way_to_the_disk_by_hardware(settings: dict[str, str], expected: Outcome) -> None:
    fetched: list[str] = []

    async def program(url: str, _: dict[str, str] | None) -> str:
        fetched.append(url)
        return "MZ"

    async def never(_: str) -> int:
        raise AssertionError

    run = ScriptRun(load=never, text=program, sleep=asyncio.sleep, disk_boots=True, settings=settings)
    assert asyncio.run(run.run(render(Script(Target.LOCAL_DISK)))) == expected
    assert fetched == (["files/local-disk.efi"] if expected == Foreign() else [])


def test_quirks_can_be_compared() -> None:
    for quirk in QUIRKS:
        assert quirk.way is not LocalBoot.AUTO
        for text in (quirk.manufacturer, quirk.product or "any"):
            assert text == " ".join(text.split())
            assert text.isascii() and not set(text) & set("${}|&#;")


def test_a_customers_script_is_theirs() -> None:
    custom = "#!ipxe\necho ${net0/mac}\nshell"
    assert render(Script(Target.CUSTOM_IPXE, custom=custom)) == custom + "\n"
    told = (("packet_facility", "ewr1"), ("packet_plan", "c1.small.x86"))
    begun = "#!ipxe\nset packet_facility ewr1\nset packet_plan c1.small.x86\n"
    rest = "echo ${net0/mac}\nshell\n"
    assert render(Script(Target.CUSTOM_IPXE, custom=custom, settings=told)) == begun + rest
    assert render(Script(Target.CUSTOM_IPXE, custom="#!ipxe", settings=told)) == begun
    assert "set packet_plan c1.small.x86" in render(Script(Target.CUSTOM_IPXE, custom="http://a/b", settings=told))
    chained = render(Script(Target.CUSTOM_IPXE, custom="http://boot.example.net/my script.ipxe"))
    assert "imgfetch --name custom http://boot.example.net/my%20script.ipxe || goto again" in chained


@pytest.mark.parametrize("cmdline", ["a || reboot", "a && reboot", "a ${net0/mac}", "a # b", "a ;b", "a \x1b[2J", "ä"])
def test_what_ipxe_would_take_for_its_own_is_refused(cmdline: str) -> None:
    with pytest.raises(Unsafe):
        render(installer(cmdline=cmdline))


@pytest.mark.parametrize("url", ["", "file:/etc/passwd", "http//x", "\nreboot"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(Unsafe):
        render(installer(kernel_url=url))


def test_a_newline_in_a_command_line_starts_no_command() -> None:
    assert "\nreboot" not in render(installer(cmdline="quiet\nreboot\n"))


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_script_keeps_its_lines(path: str, cmdline: str) -> None:
    plain = render(installer()).splitlines()
    try:
        lines = render(installer(kernel_url="http://h/" + path, cmdline=cmdline)).splitlines()
    except Unsafe:
        return
    assert len(lines) == len(plain)
    kernel = plain.index(next(line for line in plain if line.startswith("kernel")))
    assert lines[:kernel] + lines[kernel + 1 :] == plain[:kernel] + plain[kernel + 1 :]
    words = lines[kernel].split()
    assert words[0] == "kernel"
    assert words[-3:] == ["||", "goto", "again"]
    assert "${" not in lines[kernel]
    assert words[3:-3] == cmdline.split()

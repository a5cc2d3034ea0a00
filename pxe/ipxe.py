"""What a machine's iPXE is to do, as the text of an iPXE script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from pxe.decide import LocalBoot, Script, Target

# Pauses double from one second to 16: about five minutes in all. Then a fresh boot asks anew, because what this script
# says (its token above all) may have been overtaken meanwhile.
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Quirk:
    """Hardware whose firmware does not go on to its disk in the usual way."""

    platform: Literal["efi", "pcbios"]  # as iPXE's ${platform}
    manufacturer: str  # as SMBIOS type 1 writes it
    product: str | None  # likewise; None: all of the manufacturer's
    way: LocalBoot
    source: str  # who saw what


QUIRKS = (
    Quirk(
        *("efi", "VMware, Inc.", None, LocalBoot.CHAIN_EFI),
        source="ipxe/ipxe issues 213 and 883: the machine crashes or stops after exit, starting a program works",
    ),
    Quirk(
        *("efi", "Lenovo", "HS350X V3", LocalBoot.CHAIN_EFI),
        source="dsx-ai-factory/infra-controller issue 587: exit leads to network boot again, for ever",
    ),
    Quirk(
        *("efi", "Cisco Systems Inc", "UCSC-C845A-M8", LocalBoot.CHAIN_EFI),
        source="dsx-ai-factory/infra-controller issue 3082: the firmware crashes after exit",
    ),
)

# UEFI: the boot manager goes on to its next entry only after a status that is not success (UEFI 2.10 §3.1.1), so a
# plain "exit" would end in the firmware's menu. BIOS: drive 0x80 is the first disk.
_WAYS = {
    LocalBoot.CHAIN_EFI: "chain --autofree files/local-disk.efi ||\nexit 1",
    LocalBoot.SANBOOT: "sanboot --no-describe --drive 0x80 ||\nexit 1",
    LocalBoot.EXIT: "exit 1",
}

# A new decision may lead elsewhere, so it is fetched by a fresh boot, not by this script.
_WAIT = """#!ipxe
echo Nothing can be said now, asking again in 5 s
sleep 5
chain --replace --autofree ${filename} || reboot
"""

_LOAD = """#!ipxe
set tries:int32 0
set delay:int32 1
:load
%(steps)s
boot || goto again
exit
:again
imgfree
inc tries
iseq ${tries} %(tries)d && reboot ||
echo Loading failed, trying again in ${delay} s
sleep ${delay}
iseq ${delay} 16 || inc delay ${delay}
goto load
"""


class Unsafe(ValueError):
    """The text would mean something to iPXE that was not meant."""


def render(script: Script) -> str:
    """The script's text, with a line end. Raises Unsafe for a command line or a custom script that cannot be carried.

    An error on the way to a kernel is tried again with growing pauses, never left to firmware, which would fall
    through to the next boot device or stop.
    """
    match script.target:
        case Target.LOCAL_DISK:
            return _local_disk(script.local_boot)
        case Target.INSTALLER:
            return _load(_kernel_steps(script))
        case Target.CUSTOM_IPXE:
            return _custom(script)
        case Target.WAIT:
            return _WAIT


def _local_disk(way: LocalBoot) -> str:
    if way is not LocalBoot.AUTO:
        return f"#!ipxe\n{_WAYS[way]}\n"
    lines = ["#!ipxe"]
    for quirk in QUIRKS:
        # iPXE splits a line into words before it expands settings: a text with spaces is compared by way of one.
        lines += [f"set manufacturer-want {quirk.manufacturer}", f"set product-want {quirk.product or '${product}'}"]
        lines += [
            f"iseq ${{platform}} {quirk.platform} && iseq ${{manufacturer}} ${{manufacturer-want}} "
            f"&& iseq ${{product}} ${{product-want}} && goto {quirk.way} ||"
        ]
    lines += [f"iseq ${{platform}} efi && goto {LocalBoot.EXIT} || goto {LocalBoot.SANBOOT}"]
    for way, commands in _WAYS.items():
        lines += [f":{way}", commands]
    return "\n".join(lines) + "\n"


def _kernel_steps(script: Script) -> list[str]:
    # A kernel started by its EFI stub finds a named file by initrd=; on BIOS and for LoadFile2 the words do no harm.
    names = [f"initrd{index}" for index in range(len(script.initrd_urls))]
    words = [*(f"initrd={name}" for name in names), *_words(script.cmdline)]
    return [
        " ".join(["kernel", _url(script.kernel_url), *words]),
        *(f"initrd --name {name} {_url(url)}" for name, url in zip(names, script.initrd_urls, strict=True)),
    ]


def _load(steps: list[str]) -> str:
    return _LOAD % {"steps": "\n".join(f"{step} || goto again" for step in steps), "tries": _TRIES}


def _custom(script: Script) -> str:
    text = script.custom.strip()
    told = "".join(f"set {name} {' '.join(_words(value))}\n" for name, value in script.settings)
    if text.startswith("#!ipxe"):
        if "\0" in text:
            raise Unsafe("a NUL in the custom script")
        first, _, rest = text.partition("\n")
        return f"{first}\n{told}{rest}\n" if rest else f"{first}\n{told}"
    return _load([*told.splitlines(), f"imgfetch --name custom {_url(text)}", "imgselect custom"])


def _url(url: str) -> str:
    """A URL as one word: everything that RFC 3986 does not allow is escaped, "$" as well because iPXE expands it."""
    if not url.startswith(("http://", "https://", "tftp://")):
        raise Unsafe(f"not a URL to boot from: {url!r}")
    return quote(url, safe=":/?#[]@!&'()*+,;=%~-._")


def _words(cmdline: str) -> list[str]:
    """A kernel command line's words. iPXE has no quoting, so what it would take for its own is refused."""
    words = cmdline.split()
    for word in words:
        if not (word.isascii() and word.isprintable()) or "${" in word or word in ("&&", "||") or word[0] in "#;":
            raise Unsafe(f"not for iPXE: {word!r}")
    return words

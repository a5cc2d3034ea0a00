"""What a machine's iPXE is to do, as the text of an iPXE script."""

from __future__ import annotations

from urllib.parse import quote

from pxe.decide import Script, Target

# Pauses double from one second to 16: about five minutes in all. Then a fresh boot asks anew, because what this script
# says (its token above all) may have been overtaken meanwhile.
_TRIES = 20

# BIOS: drive 0x80 is the first disk. UEFI: the boot manager goes on to its next entry only after a status that is not
# success (UEFI 2.10 §3.1.1), so a plain "exit" would end in the firmware's menu.
_LOCAL_DISK = """#!ipxe
iseq ${platform} efi && exit 1 ||
sanboot --no-describe --drive 0x80 ||
exit 1
"""

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
            return _LOCAL_DISK
        case Target.INSTALLER:
            return _load(_kernel_steps(script))
        case Target.CUSTOM_IPXE:
            return _custom(script.custom)
        case Target.WAIT:
            return _WAIT


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


def _custom(custom: str) -> str:
    text = custom.strip()
    if text.startswith("#!ipxe"):
        if "\0" in text:
            raise Unsafe("a NUL in the custom script")
        return text + "\n"
    return _load([f"imgfetch --name custom {_url(text)}", "imgselect custom"])


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

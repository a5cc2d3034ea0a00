"""What a machine under Secure Boot is to do, as the text of a GRUB configuration.

Firmware that starts signed programs only starts the distribution's shim, shim the distribution's GRUB, and GRUB takes
kernels whose signature shim accepts. iPXE is not signed, so GRUB does what iPXE does elsewhere.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from pxe.decide import Script, Target
from pxe.ipxe import Unsafe

# GRUB counts nothing, so the pauses are written out: they double from one second to 16, about five minutes in all.
# Then a fresh boot asks anew, because a configuration (its token above all) may have been overtaken meanwhile.
_PAUSES = " ".join(("1 2 4 8", *("16",) * 17))

# Where the installed system's own signed loader may lie on the EFI system partition. The vendors' folders come first:
# beside a BOOTX64.EFI there may be a program that rewrites the firmware's boot entries and resets the machine.
_LOADERS = (
    "/EFI/debian/shimx64.efi",
    "/EFI/ubuntu/shimx64.efi",
    "/EFI/centos/shimx64.efi",
    "/EFI/redhat/shimx64.efi",
    "/EFI/rocky/shimx64.efi",
    "/EFI/almalinux/shimx64.efi",
    "/EFI/fedora/shimx64.efi",
    "/EFI/BOOT/BOOTX64.EFI",
)

_FIRST = """\
echo 'Asking for the boot configuration'
for pause in %(pauses)s; do
  source '%(file)s'
  echo "Asking again in $pause s"
  sleep $pause
done
reboot
"""

_LOAD = """\
for pause in %(pauses)s; do
  if linux %(kernel)s; then
    if %(initrd)s; then
      boot
    fi
  fi
  echo "Loading failed, trying again in $pause s"
  sleep $pause
done
reboot
"""

# "exit" tells the firmware of a success, after which it may show its menu instead of its next entry (UEFI 2.10
# §3.1.1), so the disk's loader is started from here, and what follows is for a disk that has none.
_LOCAL_DISK = f"""\
for loader in {" ".join(_LOADERS)}; do
  if search --no-floppy --set=root --file $loader; then
    echo "Starting $loader of ($root)"
    if chainloader $loader; then
      boot
    fi
  fi
done
echo 'No disk has a loader that may be started'
sleep 10
exit
"""

# The first configuration asks again when this one ends.
_WAIT = """\
echo 'Nothing can be said now'
sleep 5
"""

_NO_CUSTOM = """\
echo 'This machine is to run a custom iPXE script, but its firmware has Secure Boot switched on,'
echo 'and iPXE is not signed. Switch Secure Boot off, or choose an operating system.'
sleep 60
"""

_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_HTTP = 80


def first_files(boot_url: str) -> dict[str, bytes]:
    """What GRUB looks for beside itself, by name: a configuration that asks `boot_url`/boot/grub for the machine's own.

    Raises Unsafe where GRUB cannot reach `boot_url`.
    """
    text = _FIRST % {"pauses": _PAUSES, "file": _file(f"{boot_url.rstrip('/')}/boot/grub")}
    return {"grub/grub.cfg": text.encode()}


def render(script: Script) -> str:
    """The configuration's text, with a line end. Raises Unsafe for a URL or a command line that GRUB cannot carry.

    It either starts something or ends, upon which the first configuration asks again; nothing is left to firmware
    but a machine whose disk holds no loader.
    """
    match script.target:
        case Target.LOCAL_DISK:
            return _LOCAL_DISK
        case Target.INSTALLER:
            return _load(script)
        case Target.CUSTOM_IPXE:
            return _NO_CUSTOM
        case Target.WAIT:
            return _WAIT


def _load(script: Script) -> str:
    kernel = " ".join([f"'{_file(script.kernel_url)}'", *_words(script.cmdline)])
    initrds = " ".join(f"'{_file(url)}'" for url in script.initrd_urls)
    return _LOAD % {"pauses": _PAUSES, "kernel": kernel, "initrd": f"initrd {initrds}" if initrds else "true"}


def _file(url: str) -> str:
    """A URL as GRUB names a file. Its HTTP knows no port but 80, and no TLS."""
    try:
        parts = urlsplit(url)
        port = parts.port or _HTTP
    except ValueError:
        raise Unsafe(f"not a URL to boot from: {url!r}") from None
    host = parts.netloc.removesuffix(f":{_HTTP}")
    if parts.scheme != "http" or port != _HTTP or not _HOST.fullmatch(host):
        raise Unsafe(f"not a URL that GRUB can boot from (http, port 80): {url!r}")
    path = quote(parts.path or "/", safe="/@!&()*+,;=:%~-._$")
    return f"(http,{host}){path}" + (f"?{quote(parts.query, safe='/?@!&()*+,;=:%~-._$')}" if parts.query else "")


def _words(cmdline: str) -> list[str]:
    """A kernel command line's words, quoted. GRUB hands a quote or a backslash on with another one in front of it."""
    words = cmdline.split()
    for word in words:
        if not (word.isascii() and word.isprintable()) or set(word) & set("'\"\\"):
            raise Unsafe(f"not for GRUB: {word!r}")
    return [f"'{word}'" for word in words]

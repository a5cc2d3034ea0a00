"""What a machine without iPXE is to do, under Secure Boot or of arm64, as the text of a GRUB configuration.

Firmware that starts signed programs only starts the distribution's shim, shim the distribution's GRUB, and GRUB takes
kernels whose signature shim accepts. iPXE is not signed, so GRUB does what iPXE does elsewhere; so it does on arm64,
for which Debian has no iPXE.

GRUB asks the service by the protocol that it came by itself, which its variable `root` names: Debian's signed GRUB
speaks TFTP and no HTTP, and may load no module that is not signed with it.
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
_VENDORS = ("debian", "ubuntu", "centos", "redhat", "rocky", "almalinux", "fedora")
_LOADERS = (
    *(f"/EFI/{vendor}/shim{cpu}.efi" for cpu in ("x64", "aa64") for vendor in _VENDORS),
    *(f"/EFI/BOOT/BOOT{cpu}.EFI" for cpu in ("X64", "AA64")),
)

# "exit" tells the firmware of a success, after which it may show its menu instead of its next entry (UEFI 2.10
# §3.1.1), so the disk's loader is started from here, and what follows is for a machine whose disks have none.
LOCAL_DISK = f"""\
for loader in {" ".join(_LOADERS)}; do
  if search --no-floppy --set=root --file $loader; then
    echo "Starting $loader of ($root)"
    if chainloader ($root)$loader; then
      boot
    fi
  fi
done
echo 'No disk has a loader that may be started'
sleep 10
exit
"""

# The files that GRUB asks for by names of its own. The configuration of the machine that asks is `boot/grub`, which
# either starts something or ends, upon which it is asked for again.
FIRST_FILES = {
    "grub/grub.cfg": f"""\
set service=$root
for pause in {_PAUSES}; do
  source ($service)/boot/grub
  set root=$service
  echo "Asking again in $pause s"
  sleep $pause
done
reboot
""".encode(),
}

# A GRUB that came by TFTP and speaks HTTP, as the one for arm64 does, reads there where the service is.
SERVICE_FILE = "grub/service.cfg"

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

_WAIT = """\
echo 'Nothing can be said now'
sleep 5
"""

_SERVER = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_NO_CUSTOM = """\
echo 'This machine is to run a custom iPXE script, but it cannot: iPXE is not signed, and not there for arm64.'
echo 'Switch Secure Boot off in its firmware where it is on, or choose an operating system.'
sleep 60
"""


def render(script: Script) -> str:
    """The configuration's text, with a line end. Raises Unsafe for a URL or a command line that GRUB cannot carry."""
    match script.target:
        case Target.LOCAL_DISK:
            return LOCAL_DISK
        case Target.INSTALLER:
            return _load(script)
        case Target.CUSTOM_IPXE:
            return _NO_CUSTOM
        case Target.WAIT:
            return _WAIT


def service_file(boot_url: str) -> bytes:
    """What `SERVICE_FILE` says: that the service is at `boot_url`. Raises Unsafe for what is no plain HTTP server."""
    try:
        parts = urlsplit(boot_url)
    except ValueError:
        raise Unsafe(f"not a URL to boot from: {boot_url!r}") from None
    if parts.scheme != "http" or not _SERVER.fullmatch(parts.netloc) or parts.path not in ("", "/") or parts.query:
        raise Unsafe(f"not an HTTP server that GRUB can boot from: {boot_url!r}")
    return f"service='http,{parts.netloc}'\n".encode()


def _load(script: Script) -> str:
    kernel = " ".join([_file(script.kernel_url), *_words(script.cmdline)])
    initrd = " ".join(["initrd", *map(_file, script.initrd_urls)]) if script.initrd_urls else "true"
    return _LOAD % {"pauses": _PAUSES, "kernel": kernel, "initrd": initrd}


def _file(url: str) -> str:
    """A file of the service that the configuration comes from, by the URL's path: TFTP has nothing but names."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Unsafe(f"not a URL to boot from: {url!r}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path in ("", "/") or parts.query:
        raise Unsafe(f"not a URL of a file to boot from: {url!r}")
    return f"($root)'{quote(parts.path, safe='/@!&()*+,;=:%~-._')}'"


def _words(cmdline: str) -> list[str]:
    """A kernel command line's words, quoted. GRUB hands a quote or a backslash on with another one in front of it."""
    words = cmdline.split()
    for word in words:
        if not (word.isascii() and word.isprintable()) or set(word) & set("'\"\\"):
            raise Unsafe(f"not for GRUB: {word!r}")
    return [f"'{word}'" for word in words]

"""The preseed file of Debian's installer, debian-installer.

Its questions have names, and a name that no question has is passed over in silence; Debian's installation guide,
appendix B, lists the usual ones.
"""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from images.catalogue import System
from images.native import disks, finish
from images.native.checks import disk_count, refuse
from images.native.contract import Rendered, Sources
from images.native.finish import encoded
from images.native.templates import template
from images.protocol import Storage, Wish

_INSTALLER = "Debian's installer"
_SUITES = {"11": "bullseye", "12": "bookworm", "13": "trixie"}

# partman-auto(7)'s recipes: least, priority, most in MB, file system. One disk boots by BIOS and by UEFI.
_BIOS = "1 1 1 free $iflabel{ gpt } $reusemethod{ } method{ biosgrub } ."
_ESP = "512 512 512 free $iflabel{ gpt } $reusemethod{ } method{ efi } format{ } ."
_BOOT = (
    "1024 1024 1024 ext4 $primary{ } $bootable{ } method{ format } format{ } use_filesystem{ } filesystem{ ext4 } "
    "mountpoint{ /boot } ."
)
_ROOT = "4000 10000 -1 ext4 method{ format } format{ } use_filesystem{ } filesystem{ ext4 } mountpoint{ / }"
_LOGICAL_ROOT = f"{_ROOT} $lvmok{{ }} lv_name{{ root }}"
_MEMBER_PART = "4000 10000 -1 raid $primary{ } method{ raid }"
# Biosgrub, EFI and the member are 1, 2 and 3; /boot lies on the mirror or stripe of mirrors with the rest.
_MEMBER = 3


def render(system: System, wish: Wish, sources: Sources) -> Rendered:
    """A preseed file and the scripts that it fetches. Raises CannotExpress."""
    storage = wish["storage"]
    _check(storage)
    mirror = urlsplit(sources.mirror)
    host, _, domain = wish["hostname"].partition(".")
    suite = _SUITES[system.version]
    packages = ["openssh-server", "sudo"]
    packages += ["cloud-init"] if wish["userdata"] else []
    packages += {"ifupdown": ["ifupdown", "ifenslave"], "netplan": ["netplan.io"]}.get(system.network, [])
    packages += ["network-manager"] if system.network == "networkmanager" else []
    base = shlex.quote(sources.base_url)
    early = f"wget -q -O /tmp/early.sh {base}/early.sh && sh /tmp/early.sh"
    preseed = template("preseed.cfg.j2").render(
        host=host,
        domain=domain,
        suite=suite,
        mirror_host=mirror.netloc,
        mirror_folder=mirror.path or "/",
        proxy=sources.proxy,
        security=f"{sources.security_mirror} {suite}-security main" if sources.security_mirror else "",
        password=wish["password_hash"] or "!",
        packages=" ".join(packages),
        method=_method(storage),
        recipe=_recipe(storage),
        early_command=early,
        disks_command=f"wget -q -O /tmp/disks.sh {base}/disks.sh && sh /tmp/disks.sh || sh /tmp/gave-up 'disks.sh'",
    )
    shown = {"base": sources.base_url, "failed_url": sources.failed_url}
    files = {
        "preseed.cfg": preseed,
        "early.sh": template("preseed-early.sh.j2").render(shown),
        "disks.sh": _disks_script(storage),
        "finish.sh": finish.script(system, wish, sources),
    }
    # Locale and keyboard are asked before the file can be fetched; "auto" puts them after it.
    arguments = ["auto=true", "priority=critical", "locale=en_US.UTF-8", "keymap=us", "interface=auto"]
    arguments += [f"url={sources.base_url}/preseed.cfg", f"hostname={host}"]
    arguments += [f"domain={domain}"] if domain else []
    # Without a name server by DHCP it asks for one, whatever the priority, before the file can say that there is none.
    # All that it is told is by address then, so the one that is named is never asked.
    nameserver = next(iter(wish["network"]["nameservers"]), urlsplit(sources.base_url).hostname)
    arguments += ["netcfg/dhcp_timeout=60", f"netcfg/get_nameservers={nameserver}"]
    arguments += [f"BOOTIF=01-{wish['network']['macs'][0].replace(':', '-')}"]
    return Rendered(files, " ".join(arguments))


def _check(storage: Storage) -> None:
    if storage["passphrase"] and not storage["lvm"]:
        raise refuse("storage.lvm", False, f"{_INSTALLER} with storage.passphrase", "true")
    if storage["passphrase"] and storage["raid"] != "none":
        raise refuse("storage.raid", storage["raid"], f"{_INSTALLER} with storage.passphrase", "'none'")


def _method(storage: Storage) -> str:
    if storage["raid"] != "none":
        return "raid"
    if storage["passphrase"]:
        return "crypto"
    return "lvm" if storage["lvm"] else "regular"


def _recipe(storage: Storage) -> str:
    parts = [_BIOS, _ESP]
    if storage["raid"] != "none":
        parts.append(f"{_MEMBER_PART} .")
        parts += [f"{_LOGICAL_ROOT} ."] if storage["lvm"] else []
    elif storage["lvm"]:
        parts += [_BOOT, f"{_LOGICAL_ROOT} ."]
    else:
        parts.append(f"{_ROOT} .")
    return f"roundhouse :: {' '.join(parts)}"


def _disks_script(storage: Storage) -> str:
    count = disk_count(storage)
    lines = [f'disks="{" ".join(f"$disk{number}" for number in range(count))}"']
    # Of a pair, both can boot.
    lines += ['debconf-set partman-auto/disk "$disks"', 'debconf-set grub-installer/bootdev "$disks"']
    if storage["raid"] != "none":
        kind = ("lvm", "-") if storage["lvm"] else ("ext4", "/")
        lines += [
            "members=",
            "for disk in $disks; do",
            # The kernel puts a "p" between a name that ends in a digit and the partition's number.
            f"    case $disk in *[0-9]) part=${{disk}}p{_MEMBER} ;; *) part=${{disk}}{_MEMBER} ;; esac",
            '    members="$members${members:+#}$part"',
            "done",
            f'debconf-set partman-auto-raid/recipe "{storage["raid"]} {count} 0 {kind[0]} {kind[1]} $members ."',
        ]
    if storage["passphrase"]:
        secret = f"\"$(echo '{encoded(storage['passphrase'])}' | base64 -d)\""
        lines += [f"debconf-set partman-crypto/passphrase {secret}"]
        lines += [f"debconf-set partman-crypto/passphrase-again {secret}"]
    return disks.finder(storage) + "\n".join([*lines, ""])

"""The kernel's command line: what the boot script told this machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Only these carry over to a kernel that is started by kexec: the rest was meant for the installer.
_KEPT = ("console=", "quiet", "earlycon", "mitigations=", "pci=", "iommu=", "intel_iommu=", "amd_iommu=")


class Arguments:
    """What the agent needs from the command line."""

    __slots__ = ("console", "mac", "token", "toolbox", "url")

    def __init__(self, url: str, token: str, mac: str, console: Sequence[str] = (), toolbox: str = "") -> None:
        self.url = url  # of the service, without a trailing slash
        self.token = token  # good for one hello
        self.mac = mac  # the network card that booted; lower case, colons; empty when the firmware did not say
        self.console = tuple(console)  # words that a kernel started later should have, too
        self.toolbox = toolbox  # sha256 of the archive of further programs; empty: there is none


def parse(cmdline: str) -> Arguments:
    """Read `roundhouse.url=`, `.token=`, `.toolbox=` and `BOOTIF=` (with or without PXELINUX's leading `01-`).

    Raises ValueError when the URL or the token is missing.
    """
    words = cmdline.split()
    values = dict(word.split("=", 1) for word in words if "=" in word)
    try:
        url, token = values["roundhouse.url"], values["roundhouse.token"]
    except KeyError as err:
        raise ValueError(f"the kernel's command line has no {err.args[0]}=") from None
    kept = [word for word in words if word.startswith(_KEPT)]
    mac = boot_mac(values.get("BOOTIF", ""))
    return Arguments(url.rstrip("/"), token, mac, kept, values.get("roundhouse.toolbox", ""))


def boot_mac(bootif: str) -> str:
    """`01-52-54-00-00-01-01` (PXELINUX: hardware type first) and `52:54:…` both become `52:54:00:00:01:01`."""
    mac = bootif.lower().replace("-", ":")
    return mac[3:] if mac.count(":") == 6 else mac

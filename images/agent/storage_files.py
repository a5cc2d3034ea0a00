"""What the installed system must know of its disk layout: fstab, crypttab, mdadm.conf, GRUB, the initramfs. Pure."""

from __future__ import annotations

from images.agent.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from images.agent.layout import Plan

# Below the installed system's root. What a plain initramfs has not, to be appended; and what an ESP is made of.
STORAGE_INITRAMFS: Final = "usr/lib/roundhouse/initramfs-storage"
ESP_LIST: Final = "usr/lib/roundhouse/esp"
KEY: Final = "cryptroot/keyfiles/root_crypt.key"
_SERVICES: Final = ("blk-availability.service", "lvm2-monitor.service", "lvm2-lvmpolld.socket")


def files(plan: Plan, fstab: str) -> list[File]:
    """The files of a system that is laid out by `plan`; `fstab` is the image's own."""
    made = [File("/etc/fstab", with_mounts(plan, fstab))]
    if plan.arrays:
        made.append(File("/etc/mdadm/mdadm.conf", mdadm_conf(plan)))
    if plan.crypt:
        made.append(File("/etc/crypttab", crypttab(plan, "none"), 0o600))
    if plan.group:
        units = "/etc/systemd/system"
        made += [File(f"{units}/sysinit.target.wants/{name}", link=f"/lib/systemd/system/{name}") for name in _SERVICES]
        name = "dm-event.socket"
        made.append(File(f"{units}/sockets.target.wants/{name}", link=f"/lib/systemd/system/{name}"))
    return made


def with_mounts(plan: Plan, fstab: str) -> str:
    """The image's fstab(5) with the root's new source, and /boot behind it."""
    lines = []
    for line in fstab.splitlines():
        words = line.split()
        if len(words) > 1 and not line.startswith("#") and words[1] == "/":
            lines.append(" ".join([plan.root_source, *words[1:]]))
            if plan.boot:
                lines.append(f"UUID={plan.boot_uuid} /boot ext4 defaults 0 2")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def mdadm_conf(plan: Plan) -> str:
    """mdadm.conf(5): the arrays by their UUIDs, and nothing else is put together under their names."""
    lines = ["HOMEHOST <system>", "MAILADDR root"]
    for array in plan.arrays:
        lines.append(f"ARRAY {array.path} metadata={array.metadata} UUID={array_uuid(array.uuid)}")
    return "\n".join(lines) + "\n"


def array_uuid(uuid: str) -> str:
    """A UUID as mdadm writes it: four groups of eight digits."""
    digits = uuid.replace("-", "")
    return ":".join(digits[at : at + 8] for at in range(0, 32, 8))


def crypttab(plan: Plan, key: str) -> str:
    """crypttab(5); `key` is a path in the initramfs, or "none" for a passphrase at the console."""
    assert plan.crypt is not None
    return f"{plan.crypt.name} UUID={plan.crypt.uuid} {key} luks,initramfs\n"


def grub_config(plan: Plan, text: str) -> str:
    """The image's grub.cfg with the root's new name."""
    return text.replace(f"root=UUID={plan.piece.uuid}", f"root={plan.root_source}")


def initramfs(plan: Plan, passphrase: str = "") -> bytes:
    """What is appended to the initramfs for it to find this machine's root.

    With a passphrase it is for one start by kexec, and only ever in memory.
    """
    made: dict[str, bytes] = {}
    if plan.arrays:
        made["etc/mdadm/mdadm.conf"] = mdadm_conf(plan).encode()
    if plan.crypt:
        made["cryptroot/crypttab"] = crypttab(plan, f"/{KEY}" if passphrase else "none").encode()
        if passphrase:
            made[KEY] = passphrase.encode()
    return archive(made)


def archive(contents: Mapping[str, bytes]) -> bytes:
    """A cpio archive as an initramfs is made of (the kernel's early-userspace/buffer-format), with the folders."""
    entries: list[tuple[str, int, bytes]] = []
    known: set[str] = set()
    for name, content in contents.items():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in known:
                known.add(folder)
                entries.append((folder, 0o040755, b""))
        entries.append((name, 0o100400, content))
    packed = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        packed += bytes(-len(packed) % 4) + content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)

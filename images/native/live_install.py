"""Two configurations of Ignition: the live system's, which installs, and within it the installed system's."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from images.agent import phone_home
from images.agent.file import File
from images.agent.ignition import host_key_files
from images.catalogue import System
from images.native import disks, ignition_config
from images.native.contract import Sources
from images.native.finish import system_files
from images.native.templates import template
from images.protocol import Wish

FILLED = "/run/roundhouse.ign"

_WANTED = "/etc/roundhouse/system.ign"
_SCRIPT = "/opt/roundhouse/bin/install"
_UNIT = f"""\
[Unit]
Description=Install the system that was ordered
After=network-online.target systemd-udev-settle.service
Wants=network-online.target systemd-udev-settle.service

[Service]
Type=oneshot
ExecStart=/bin/bash {_SCRIPT}
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
"""


def network(system: System, wish: Wish) -> list[File]:
    """The network's files of the installed system; it has a resolver of its own."""
    folders = ("/etc/systemd/network/", "/etc/NetworkManager/")
    return [file for file in system_files(system, _plain(wish)) if file.path.startswith(folders)]


def _plain(wish: Wish) -> Wish:
    # User data is Ignition here, and no cloud-init reads it.
    return {**wish, "userdata": ""}


def system_config(
    system: System, wish: Wish, layout: Mapping[str, object] | None = None, more: Iterable[Mapping[str, object]] = ()
) -> str:
    """The installed system's configuration. `layout` is what its `storage` has beside files, `more` are files.

    Raises CannotExpress.
    """
    kept = {"/etc/hostname", "/etc/hosts", phone_home.SCRIPT}
    files = [file for file in system_files(system, _plain(wish)) if file.path in kept] + network(system, wish)
    entries = [ignition_config.storage_file(file) for file in files]
    user: dict[str, object] = {"name": system.default_user}
    # Two alike are refused.
    user["sshAuthorizedKeys"] = list(dict.fromkeys(key.strip() for key in wish["ssh_keys"] if key.strip()))
    if wish["password_hash"]:
        user["passwordHash"] = wish["password_hash"]
    return ignition_config.config(
        ignition=ignition_config.merged(wish["userdata"], system.name),
        storage={**(layout or {}), "files": [*entries, *more]},
        units=[{"name": phone_home.UNIT_NAME, "enabled": True, "contents": phone_home.UNIT}],
        passwd={"users": [user]},
    )


def target_config(system: System, wish: Wish, layout: Mapping[str, object] | None = None) -> str:
    """The installed system's configuration, with placeholders for disks and host key. Raises CannotExpress."""
    private, public = (disks.placeholder(wish["storage"], name) for name in ("KEY", "PUB"))
    return system_config(system, wish, layout, host_key_files(private, public))


def installer_config(wish: Wish, sources: Sources, target: str, command: str, copied: Iterable[tuple[str, str]]) -> str:
    """The live system's configuration: `command` installs the filled `target` onto $disk0.

    `copied` are more files for it, read by root alone.
    """
    storage = wish["storage"]
    script = template("live-install.sh.j2").render(
        finder=disks.finder(storage),
        fill=disks.fill(storage, _WANTED, FILLED),
        key_mark=disks.placeholder(storage, "KEY"),
        pub_mark=disks.placeholder(storage, "PUB"),
        comment=shlex.quote(f"root@{wish['hostname']}"),
        filled=FILLED,
        command=command,
        installed_url=sources.installed_url,
        failed_url=sources.failed_url,
    )
    files = [File(_WANTED, target, 0o600), File(_SCRIPT, script, 0o700)]
    files += [File(path, text, 0o600) for path, text in copied]
    return ignition_config.config(
        storage={"files": [ignition_config.storage_file(file) for file in files]},
        units=[{"name": "roundhouse-install.service", "enabled": True, "contents": _UNIT}],
    )

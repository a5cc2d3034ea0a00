"""The files that make a new system this order's own. Pure: from what is wished to paths and contents."""

from __future__ import annotations

import json

from images.agent import phone_home
from images.agent.file import File
from images.agent.network import network_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.protocol import NetworkStyle, Wish


def files(wish: Wish, user: str, style: NetworkStyle) -> list[File]:
    """Everything that is written before the first boot, in any order. Raises ValueError for what cannot be.

    The user must be there, or be made by who writes the files.
    """
    home = "/root" if user == "root" else f"/home/{user}"
    owner = "" if user == "root" else user
    keys = "".join(f"{key.strip()}\n" for key in wish["ssh_keys"])
    written = [
        File("/etc/hostname", f"{wish['hostname']}\n"),
        File("/etc/hosts", _hosts(wish["hostname"])),
        File("/etc/machine-id", ""),  # empty: systemd makes one, and a copied one would name two machines alike
        File(f"{home}/.ssh/authorized_keys", keys, 0o600, owner=owner),
        File(phone_home.SCRIPT, phone_home.script(wish["phone_home_url"], wish["instance_id"]), 0o755),
        File(f"/etc/systemd/system/{phone_home.UNIT_NAME}", phone_home.UNIT),
        File(f"/etc/systemd/system/multi-user.target.wants/{phone_home.UNIT_NAME}", link=f"../{phone_home.UNIT_NAME}"),
        *network_files(wish["network"], style),
    ]
    if owner:
        written.append(File("/etc/sudoers.d/90-roundhouse", f"{user} ALL=(ALL) NOPASSWD:ALL\n", 0o440))
    if wish["userdata"]:
        written += _cloud_init(wish, owner)
    else:
        # Forty seconds of a first boot on the slowest machines, for nothing: all that it would do is done here.
        written.append(File("/etc/cloud/cloud-init.disabled"))
    return written


def _hosts(hostname: str) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    return f"127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n\n::1\tlocalhost ip6-localhost ip6-loopback\n"


_CLOUD_CONFIG = """\
# The installer has written the network, the host name and the host keys; cloud-init is left the user data.
# The image comes with its package sources, and without locales.
datasource_list: [NoCloud]
network: {config: disabled}
preserve_hostname: true
ssh_deletekeys: false
ssh_genkeytypes: [ed25519]
disable_root: false
locale: false
apt: {preserve_sources_list: true}
"""


def _cloud_init(wish: Wish, default_user: str) -> list[File]:
    # JSON is YAML, and needs no quoting rules of our own.
    meta = {"instance-id": wish["instance_id"], "local-hostname": wish["hostname"], "public-keys": wish["ssh_keys"]}
    config = _CLOUD_CONFIG
    if default_user:
        config += f"system_info: {json.dumps({'default_user': {'name': default_user}})}\n"
    return [
        File("/etc/cloud/cloud.cfg.d/90-roundhouse.cfg", config),
        File("/var/lib/cloud/seed/nocloud/meta-data", json.dumps(meta) + "\n"),
        File("/var/lib/cloud/seed/nocloud/user-data", wish["userdata"], 0o600),
    ]

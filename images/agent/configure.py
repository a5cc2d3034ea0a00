"""The files that make a copy of an image into this order's machine. Pure: from an InstallSpec to paths and contents."""

from __future__ import annotations

import json
import shlex

from images.agent import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.protocol import InstallSpec, Network


class File:
    """One file below the installed system's root."""

    __slots__ = ("link", "mode", "path", "text")

    def __init__(self, path: str, text: str = "", mode: int = 0o644, link: str = "") -> None:
        self.path, self.text, self.mode = path, text, mode
        self.link = link  # not empty: a symbolic link to there


_PHONE_HOME = "/usr/local/lib/roundhouse/phone-home"
_UNIT = "roundhouse-phone-home.service"
_STAMP = "/var/lib/roundhouse/phoned-home"


def files(spec: InstallSpec) -> list[File]:
    """Everything that is written before the first boot, in any order. Raises ValueError for a spec that cannot be."""
    keys = "".join(f"{key.strip()}\n" for key in spec["ssh_keys"])
    written = [
        File("/etc/hostname", f"{spec['hostname']}\n"),
        File("/etc/hosts", _hosts(spec["hostname"])),
        File("/etc/machine-id", ""),  # empty: systemd makes one, and a copied one would name two machines alike
        File("/etc/systemd/network/10-roundhouse.network", network_unit(spec["network"])),
        File("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in spec["network"]["nameservers"])),
        File("/root/.ssh/authorized_keys", keys, 0o600),
        File(_PHONE_HOME, phone_home_script(spec["phone_home_url"], spec["instance_id"]), 0o755),
        File(f"/etc/systemd/system/{_UNIT}", _PHONE_HOME_UNIT),
        File(f"/etc/systemd/system/multi-user.target.wants/{_UNIT}", link=f"../{_UNIT}"),
    ]
    if spec["userdata"]:
        written += _cloud_init(spec)
    else:
        # Forty seconds of a first boot on the slowest machines, for nothing: all that it would do is done here.
        written.append(File("/etc/cloud/cloud-init.disabled"))
    return written


def _hosts(hostname: str) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    return f"127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def network_unit(network: Network) -> str:
    """The systemd.network(5) file: every address on the one interface, the default routes through the public gateways.

    A gateway is on the link by definition (`GatewayOnLink`), so that a /32 works as well as a /31. Without a public
    address of a family, the private gateway takes its default route.
    """
    lines = ["[Match]", f"MACAddress={' '.join(network['macs'])}", "", "[Network]", "DHCP=no", "IPv6AcceptRA=no"]
    # Two ends of a routed link cannot collide; detection would hold up "online" for a second or two.
    lines += ["IPv6DuplicateAddressDetection=0", "LLDP=yes", "EmitLLDP=yes"]
    lines += [f"Address={address['address']}" for address in network["addresses"]]
    lines += [f"DNS={server}" for server in network["nameservers"]]
    for six in (False, True):
        family = [a for a in network["addresses"] if (":" in a["address"]) is six]
        public = [a for a in family if a["public"]]
        private = [a for a in family if not a["public"]]
        if default := (public or private)[:1]:
            lines += _route("::/0" if six else "0.0.0.0/0", default[0]["gateway"])
        if public and private:
            subnets = [subnet for subnet in network["private_subnets"] if (":" in subnet) is six]
            for subnet in subnets:
                lines += _route(subnet, private[0]["gateway"])
    return "\n".join([*lines, ""])


def _route(destination: str, gateway: str) -> list[str]:
    return ["", "[Route]", f"Destination={destination}", f"Gateway={gateway}", "GatewayOnLink=yes"]


_PHONE_HOME_UNIT = f"""\
[Unit]
Description=Tell Roundhouse that this machine is up
After=network-online.target ssh.service sshd.service
Wants=network-online.target
ConditionPathExists=!{_STAMP}

[Service]
Type=oneshot
ExecStart={_PHONE_HOME}
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


def phone_home_script(url: str, instance_id: str) -> str:
    """A script that PUTs the instance id until it is heard. It needs nothing but bash. ValueError: not an http URL."""
    host, port, target = wire.split(url)
    body = json.dumps({"instance_id": instance_id})
    name = f"[{host}]" if ":" in host else host
    head = [f"PUT {target} HTTP/1.0", f"Host: {name}:{port}", "Content-Type: application/json"]
    lines = " ".join(shlex.quote(line) for line in [*head, f"Content-Length: {len(body)}", ""])
    return f"""\
#!/bin/bash
# Written at installation; runs until Roundhouse has answered once.
call() {{
    exec 3<>{shlex.quote(f"/dev/tcp/{host}/{port}")} || return 1
    {{ printf '%s\\r\\n' {lines}; printf '%s' {shlex.quote(body)}; }} >&3
    read -r -t 20 _ status _ <&3
    exec 3>&-
    [[ $status == 2* ]]
}}
until (call) 2>/dev/null; do sleep 1; done
mkdir -p {_STAMP.rpartition("/")[0]} && touch {_STAMP}
"""


_CLOUD_CONFIG = """\
# The installer has written the network, the host name and the host keys; cloud-init is left the user data.
# The image comes with its package sources, and without locales.
datasource_list: [NoCloud]
network: {config: disabled}
preserve_hostname: true
ssh_deletekeys: false
ssh_genkeytypes: []
disable_root: false
locale: false
apt: {preserve_sources_list: true}
"""


def _cloud_init(spec: InstallSpec) -> list[File]:
    # JSON is YAML, and needs no quoting rules of our own.
    meta = {"instance-id": spec["instance_id"], "local-hostname": spec["hostname"], "public-keys": spec["ssh_keys"]}
    return [
        File("/etc/cloud/cloud.cfg.d/90-roundhouse.cfg", _CLOUD_CONFIG),
        File("/var/lib/cloud/seed/nocloud/meta-data", json.dumps(meta) + "\n"),
        File("/var/lib/cloud/seed/nocloud/user-data", spec["userdata"], 0o600),
    ]


def with_root_password(shadow: str, password_hash: str) -> str:
    """/etc/shadow with root's password replaced; an empty hash locks the password (shadow(5))."""
    lines = []
    for line in shadow.splitlines():
        name, _, rest = line.partition(":")
        if name == "root":
            fields = rest.split(":")
            line = ":".join([name, password_hash or "*", *fields[1:]])
        lines.append(line)
    return "\n".join(lines) + "\n"

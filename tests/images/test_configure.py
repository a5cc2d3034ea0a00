"""What the agent writes into a new system: judged by reading it, and by running the phone-home script."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from images.agent import accounts, configure, phone_home
from images.agent.cmdline import boot_mac, parse
from images.agent.file import File
from images.protocol import InstallSpec


def spec() -> InstallSpec:
    return {
        "image": {
            "url": "http://192.0.2.1/i",
            "bytes": 1,
            "map_url": "http://192.0.2.1/m",
            "map_sha256": "0" * 64,
            "disk_bytes": 1,
        },
        "hostname": "web1.example.net",
        "ssh_keys": ["ssh-ed25519 AAAA one\n", "ssh-ed25519 BBBB two"],
        "password_hash": "$6$salt$hash",
        "network": {
            "macs": ["52:54:00:00:01:01"],
            "bond": "none",
            "addresses": [
                {"address": "198.51.100.5/31", "gateway": "198.51.100.4", "public": True},
                {"address": "10.1.0.5/31", "gateway": "10.1.0.4", "public": False},
                {"address": "2001:db8::3/127", "gateway": "2001:db8::2", "public": True},
            ],
            "private_subnets": ["10.0.0.0/8"],
            "nameservers": ["192.0.2.53"],
        },
        "storage": {"disks": [], "raid": "none", "lvm": False, "passphrase": ""},
        "metadata_url": "http://192.0.2.1",
        "phone_home_url": "http://192.0.2.1/phone-home",
        "instance_id": "5f2c9a10",
        "userdata": "",
        "user": "root",
        "network_style": "networkd",
        "ignition": "",
        "handover": ["switch_root"],
    }


def made(wanted: InstallSpec) -> dict[str, File]:
    """The files by path."""
    return {file.path: file for file in configure.files(wanted, wanted["user"], wanted["network_style"])}


def test_cloud_init_runs_only_for_user_data() -> None:
    plain = made(spec())
    assert "/etc/cloud/cloud-init.disabled" in plain
    assert plain["/etc/machine-id"].text == ""
    assert plain["/root/.ssh/authorized_keys"].text == "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n"
    assert plain["/root/.ssh/authorized_keys"].mode == 0o600
    asked = spec()
    asked["userdata"] = "#cloud-config\n{}"
    seeded = made(asked)
    assert "/etc/cloud/cloud-init.disabled" not in seeded
    assert seeded["/var/lib/cloud/seed/nocloud/user-data"].text == "#cloud-config\n{}"
    meta = json.loads(seeded["/var/lib/cloud/seed/nocloud/meta-data"].text)
    assert (meta["instance-id"], meta["local-hostname"]) == ("5f2c9a10", "web1.example.net")


def test_the_keys_reach_the_user_that_the_system_has() -> None:
    asked = spec()
    asked["user"], asked["userdata"] = "ubuntu", "#cloud-config\n{}"
    files = made(asked)
    keys = files["/home/ubuntu/.ssh/authorized_keys"]
    assert (keys.owner, keys.mode, keys.text) == ("ubuntu", 0o600, "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n")
    assert "/root/.ssh/authorized_keys" not in files
    assert files["/etc/sudoers.d/90-roundhouse"].text == "ubuntu ALL=(ALL) NOPASSWD:ALL\n"
    assert '{"default_user": {"name": "ubuntu"}}' in files["/etc/cloud/cloud.cfg.d/90-roundhouse.cfg"].text


def test_users_are_read_from_the_system_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n\nubuntu:x:1000:1001::/home/u:/bin/sh\n")
    assert accounts.users(str(tmp_path)) == {"root": (0, 0), "ubuntu": (1000, 1001)}


def test_the_root_password_is_replaced_and_nothing_else() -> None:
    shadow = "root:*:19723:0:99999:7:::\ndaemon:*:19723:0:99999:7:::\n"
    assert accounts.with_root_password(shadow, "$6$a$b") == (
        "root:$6$a$b:19723:0:99999:7:::\ndaemon:*:19723:0:99999:7:::\n"
    )
    assert accounts.with_root_password(shadow, "") == shadow


def test_the_phone_home_script_repeats_its_call_until_it_is_heard(tmp_path: Path) -> None:
    heard: list[tuple[str, str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.command, self.path, self.headers["Content-Type"], body))
            self.send_response(503 if len(heard) == 1 else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/phone-home?a=%20'b"
    text = phone_home.script(url, "it's 100 %").replace("/var/lib/roundhouse", str(tmp_path / "state"))
    script = tmp_path / "phone-home"
    script.write_text(text)
    subprocess.run(["bash", script], check=True, timeout=120)
    server.shutdown()
    server.server_close()
    assert [call[:3] for call in heard] == [("PUT", "/phone-home?a=%20'b", "application/json")] * 2
    assert json.loads(heard[1][3]) == {"instance_id": "it's 100 %"}
    assert (tmp_path / "state" / "phoned-home").exists()


def test_phoning_home_needs_plain_http() -> None:
    with pytest.raises(ValueError, match="https"):
        phone_home.script("https://192.0.2.1/", "i")


def test_the_command_line_names_service_token_card_and_console() -> None:
    arguments = parse(
        "initrd=initrd quiet console=tty0 console=ttyS0,115200 roundhouse.url=http://192.0.2.1:8080/ "
        "roundhouse.token=a=b BOOTIF=01-52-54-00-00-01-0A"
    )
    assert (arguments.url, arguments.token) == ("http://192.0.2.1:8080", "a=b")
    assert arguments.mac == "52:54:00:00:01:0a"
    assert arguments.console == ("quiet", "console=tty0", "console=ttyS0,115200")
    assert boot_mac("52:54:00:00:01:0A") == "52:54:00:00:01:0a"
    with pytest.raises(ValueError, match=r"roundhouse\.token"):
        parse("roundhouse.url=http://192.0.2.1")

"""The script that ends every installation, run in a copy of this system, and what cloud-init makes of its files."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from images.catalogue import System, load_catalogue
from images.native import finish
from images.protocol import NetworkStyle, Wish
from tests.images.native.listening import listener
from tests.images.native.matrix import CLOUD_CONFIG, NETWORKS, SCRIPT, SOURCES, STORAGES, wish

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are root's to make")

# What the script changes is a layer over this machine's own files, and goes with the namespace; the marks at the end
# are read from the layer. Its network is this machine's loopback, where the listener is.
_IN_A_COPY = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind /dev "$1/root/dev"
mount --bind /proc "$1/root/proc"
rm -f "$1"/root/etc/ssh/ssh_host_*
mkdir -p "$1/root/etc/netplan" "$1/root/etc/NetworkManager/system-connections"
echo old > "$1/root/etc/netplan/00-installer.yaml"
echo old > "$1/root/etc/NetworkManager/system-connections/installer.nmconnection"
cat > "$1/root/root/finish.sh"
chroot "$1/root" /bin/bash /root/finish.sh >&2
cd "$1/root"
for path in $2; do
    if [ -e ".$path" ] || [ -L ".$path" ]; then
        owner=$(chroot . stat -c '%a %U' "$path")
        text=$(if [ -f ".$path" ]; then base64 -w 0 ".$path"; fi)
        printf '%s\\0%s\\0%s\\0%s\\0' "$path" "$owner" "$(readlink ".$path")" "$text"
    fi
done
"""


def carried_out(
    tmp_path: Path, system: System, ordered: Wish, url: str, paths: list[str]
) -> dict[str, tuple[str, str, str]]:
    """Mode and owner, the link's goal, and the text of each of the paths that is there after the script."""
    script = finish.script(system, ordered, replace(SOURCES, installed_url=f"{url}/installed"))
    argv = ["unshare", "-m", "sh", "-c", _IN_A_COPY, "sh", str(tmp_path), " ".join(paths)]
    done = subprocess.run(argv, input=script.encode(), capture_output=True, timeout=120, check=False)
    if b"mounting overlay" in done.stderr or b"unknown filesystem type 'overlay'" in done.stderr:
        pytest.skip("this kernel has no overlay over this root")
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    words = done.stdout.split(b"\0")[:-1]
    read = subprocess.run
    texts = [
        read(["base64", "-d"], input=word, capture_output=True, check=True).stdout.decode() for word in words[3::4]
    ]
    return {
        path.decode(): (mode.decode(), goal.decode(), text)
        for path, mode, goal, text in zip(words[0::4], words[1::4], words[2::4], texts, strict=True)
    }


PATHS = [
    "/etc/hostname",
    "/etc/shadow",
    "/etc/machine-id",
    "/root/.ssh/authorized_keys",
    "/home/ubuntu/.ssh",
    "/home/ubuntu/.ssh/authorized_keys",
    "/etc/sudoers.d/90-roundhouse",
    "/etc/systemd/system/multi-user.target.wants/roundhouse-phone-home.service",
    "/opt/roundhouse/bin/phone-home",
    "/etc/systemd/network/10-roundhouse.network",
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "/etc/netplan/00-installer.yaml",
    "/etc/netplan/50-roundhouse.yaml",
    "/etc/NetworkManager/system-connections/installer.nmconnection",
    "/etc/NetworkManager/system-connections/roundhouse.nmconnection",
    "/etc/network/interfaces",
    "/etc/cloud/cloud-init.disabled",
    "/var/lib/cloud/seed/nocloud/user-data",
    "/etc/ssh/ssh_host_ed25519_key.pub",
]


@ROOT
def test_the_system_is_the_orders_own_and_its_host_keys_are_told(tmp_path: Path) -> None:
    with listener([500, 204]) as (url, heard):
        system = load_catalogue().get("debian_12")
        ordered = wish(STORAGES["one disk"], NETWORKS["both"], "")
        made = carried_out(tmp_path, system, ordered, url, PATHS)
    assert made["/etc/hostname"] == ("644 root", "", "web1.example.net\n")
    mode, _, keys = made["/root/.ssh/authorized_keys"]
    assert (mode, keys.splitlines()) == ("600 root", [key.strip() for key in ordered["ssh_keys"]])
    assert f"root:{ordered['password_hash']}:" in made["/etc/shadow"][2]
    assert made["/etc/machine-id"][2] == Path("/etc/machine-id").read_text()
    assert made["/opt/roundhouse/bin/phone-home"][0] == "755 root"
    unit = "/etc/systemd/system/multi-user.target.wants/roundhouse-phone-home.service"
    assert made[unit][1] == "../roundhouse-phone-home.service"
    assert "/etc/systemd/network/10-roundhouse.network" in made
    assert "systemd-networkd.service" in made["/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"][1]
    assert "/etc/netplan/00-installer.yaml" not in made
    assert "/etc/cloud/cloud-init.disabled" in made
    key = made["/etc/ssh/ssh_host_ed25519_key.pub"][2]
    # Told once more because the first answer was an error.
    assert [path for path, _ in heard] == ["/installed", "/installed"]
    assert heard[1][1].decode() == key.strip()


@ROOT
@pytest.mark.parametrize("style", ["netplan", "ifupdown", "networkmanager"])
def test_each_style_of_network_takes_the_place_of_the_installers(style: NetworkStyle, tmp_path: Path) -> None:
    ours = {
        "netplan": "/etc/netplan/50-roundhouse.yaml",
        "ifupdown": "/etc/network/interfaces",
        "networkmanager": "/etc/NetworkManager/system-connections/roundhouse.nmconnection",
    }
    system = replace(load_catalogue().get("debian_12"), network=style)
    with listener([204]) as (url, _):
        made = carried_out(tmp_path, system, wish(STORAGES["one disk"], NETWORKS["both"], ""), url, PATHS)
    assert "198.51.100.5/31" in made[ours[style]][2]
    old = ours[style].replace("50-roundhouse", "00-installer").replace("/roundhouse.nm", "/installer.nm")
    assert old == ours[style] or old not in made


@ROOT
def test_another_user_gets_the_keys_and_user_data_stays_as_it_is(tmp_path: Path) -> None:
    system = replace(load_catalogue().get("ubuntu_24_04"), default_user="ubuntu")
    ordered = wish(STORAGES["one disk"], NETWORKS["both"], SCRIPT)
    with listener([204]) as (url, _):
        made = carried_out(tmp_path, system, ordered, url, PATHS)
    assert made["/home/ubuntu/.ssh"][0] == "700 ubuntu"
    assert made["/home/ubuntu/.ssh/authorized_keys"][0] == "600 ubuntu"
    assert made["/etc/sudoers.d/90-roundhouse"] == ("440 root", "", "ubuntu ALL=(ALL) NOPASSWD:ALL\n")
    assert made["/var/lib/cloud/seed/nocloud/user-data"] == ("600 root", "", SCRIPT)
    assert "/etc/cloud/cloud-init.disabled" not in made


_NOCLOUD = """
import json, sys
from cloudinit import helpers, settings, util
from cloudinit.sources.DataSourceNoCloud import DataSourceNoCloud
root = sys.argv[1]
config = util.mergemanydict([util.load_yaml(open(root + "/etc/cloud/cloud.cfg.d/90-roundhouse.cfg").read()), {}])
paths = helpers.Paths({"cloud_dir": root + "/var/lib/cloud", "run_dir": root + "/run"})
source = DataSourceNoCloud({**settings.CFG_BUILTIN, **config}, None, paths)
found = source.get_data()
print(json.dumps([found, source.get_instance_id(), source.get_hostname().hostname, source.get_public_ssh_keys(),
                  source.get_userdata_raw().decode() if isinstance(source.get_userdata_raw(), bytes)
                  else source.get_userdata_raw(), config]))
"""


@pytest.mark.skipif(not Path("/usr/bin/cloud-init").exists(), reason="needs the Debian package cloud-init")
@pytest.mark.parametrize("userdata", [CLOUD_CONFIG, SCRIPT], ids=["cloud-config", "script"])
def test_cloud_inits_nocloud_source_reads_the_seed(userdata: str, tmp_path: Path) -> None:
    ordered = wish(STORAGES["one disk"], NETWORKS["both"], userdata)
    for file in finish.system_files(load_catalogue().get("debian_12"), ordered):
        if "cloud" in file.path:
            path = tmp_path / file.path[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
    argv = ["/usr/bin/python3", "-c", _NOCLOUD, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found, id_, hostname, keys, data, config = json.loads(done.stdout)
    assert (found, id_, hostname, data) == (True, "5f2c9a10", "web1", userdata)
    assert keys == ordered["ssh_keys"]
    assert config["datasource_list"] == ["NoCloud"]
    assert config["network"] == {"config": "disabled"}


@pytest.mark.skipif(not Path("/usr/bin/cloud-init").exists(), reason="needs the Debian package cloud-init")
def test_cloud_inits_schema_takes_what_it_is_configured_with(tmp_path: Path) -> None:
    ordered = wish(STORAGES["one disk"], NETWORKS["both"], CLOUD_CONFIG)
    files = {file.path: file for file in finish.system_files(load_catalogue().get("debian_12"), ordered)}
    config = tmp_path / "config"
    text = files["/etc/cloud/cloud.cfg.d/90-roundhouse.cfg"].text
    # Of what its code takes, Debian 12's schema leaves one word out, which later ones have.
    assert "\nlocale: false\n" in text
    config.write_text("#cloud-config\n" + text.replace("locale: false\n", ""))
    argv = ["cloud-init", "schema", "--config-file", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid cloud-config" in done.stdout

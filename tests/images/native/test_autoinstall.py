"""Ubuntu's autoinstall, judged by Subiquity's schema, cloud-init's schemas, and checks of what those leave open."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from images.agent.network import network_files
from images.catalogue import load_catalogue
from images.native import Rendered, render
from images.protocol import Storage
from tests.images.native import report
from tests.images.native.matrix import CLOUD, NETWORKS, SECRET, SOURCES, STORAGES, accepted, wish
from tests.images.native.sandbox import machine, run
from tests.images.native.schema_judge import Judge, storage_complaints, unknown_keys

SLUGS = ["ubuntu_20_04", "ubuntu_22_04", "ubuntu_24_04"]


def autoinstall(rendered: Rendered) -> dict[str, Any]:
    """The configuration; it is JSON behind the line that makes it cloud-init's."""
    head, _, text = rendered.files["user-data"].partition("\n")
    assert head == "#cloud-config"
    document = json.loads(text)
    assert list(document) == ["autoinstall"]
    found: dict[str, Any] = document["autoinstall"]
    return found


@pytest.mark.parametrize("slug", SLUGS)
def test_subiquitys_schema_takes_every_order(slug: str, schemas: Path) -> None:
    made, refused = accepted(load_catalogue().get(slug), CLOUD)
    judge, cloud = Judge(schemas / "autoinstall-schema.json"), Judge(schemas / "schema-cloud-config-v1.json")
    judged = set()
    for case, rendered in made:
        # Networks and user data are in the script that ends the installation, and not here.
        if rendered.files["user-data"] in judged:
            continue
        judged.add(rendered.files["user-data"])
        wanted = autoinstall(rendered)
        assert judge.complaints(wanted) == [], case.name
        # "security" is curtin's, to which Subiquity hands on what it finds in "apt".
        assert list(unknown_keys(judge.schema, wanted)) == ["/apt/security"], case.name
        assert storage_complaints(wanted["storage"]["config"]) == [], case.name
        assert cloud.complaints(wanted["user-data"]) == [], case.name
    assert len(judged) >= len(STORAGES)
    assert refused == []
    assert len(made) >= 200
    report.tell(slug, len(made), 0, "Subiquity's and cloud-init's schemas, unknown keys, curtin's references")


def test_what_the_schemas_leave_open_is_noticed(schemas: Path) -> None:
    judge = Judge(schemas / "autoinstall-schema.json")
    rendered = render(load_catalogue().get("ubuntu_24_04"), wish(STORAGES["RAID 1"], NETWORKS["both"], ""), SOURCES)
    wanted = autoinstall(rendered)
    wanted["ssh"]["instal-server"] = True
    assert judge.complaints(wanted) == []
    assert "/ssh/instal-server" in unknown_keys(judge.schema, wanted)
    wanted["version"] = "one"
    assert judge.complaints(wanted)
    config = wanted["storage"]["config"]
    config[1]["size"] = -1
    config[-1]["device"] = "nothing"
    said = storage_complaints([*config[:-1], config[0]]) + storage_complaints(config[:-1])
    assert f"{config[0]['id']} is there twice" in said
    assert f"{config[1]['id']}: only the last takes the rest" in said
    assert "nothing is mounted at /boot/efi" in said


@pytest.mark.parametrize("network", NETWORKS)
def test_the_networks_file_has_the_form_that_cloud_init_knows(network: str, schemas: Path) -> None:
    (file,) = network_files(NETWORKS[network], "netplan")
    judge = Judge(schemas / "schema-network-config-v2.json")
    document = json.loads(file.text)
    for device in [*document["network"]["ethernets"].values(), *document["network"].get("bonds", {}).values()]:
        for route in device.get("routes", []):
            # netplan's own words, which cloud-init's form leaves out; netplan itself judges the file elsewhere.
            del route["on-link"]
            route.pop("from", None)
    assert judge.complaints(document) == []


def filled(tmp_path: Path, storage: Storage, *, uefi: bool, dump: Any = json.dumps) -> str:
    """The configuration as Subiquity reads it again after its early commands, on the machine of the sandbox."""
    rendered = render(load_catalogue().get("ubuntu_24_04"), wish(storage, NETWORKS["both"], ""), SOURCES)
    (tmp_path / "autoinstall.yaml").write_text(dump(autoinstall(rendered)))
    script = rendered.files["disks.sh"].replace("/autoinstall.yaml", f"{tmp_path}/autoinstall.yaml")
    script = script.replace("/run/filled", f"{tmp_path}/filled")
    done = run(["dash"], "set -e\n" + script, machine(tmp_path, uefi=uefi))
    assert (done.returncode, done.stderr) == (0, "")
    return (tmp_path / "autoinstall.yaml").read_text().replace(f"{tmp_path}/dev", "/dev")


@pytest.mark.parametrize("uefi", [False, True], ids=["BIOS", "UEFI"])
def test_the_early_commands_put_in_the_disks_and_the_firmware(uefi: bool, tmp_path: Path) -> None:
    config = json.loads(filled(tmp_path, STORAGES["RAID 1 by serial"], uefi=uefi))["storage"]["config"]
    disks = [action for action in config if action["type"] == "disk"]
    assert [disk["path"] for disk in disks] == ["/dev/nvme0n1", "/dev/sdb"]
    assert {disk["grub_device"] for disk in disks} == {not uefi}
    assert {action["grub_device"] for action in config if action.get("flag") == "boot"} == {uefi}


def test_a_passphrase_arrives_as_it_is_though_it_looks_like_a_placeholder(tmp_path: Path) -> None:
    for number, secret in enumerate((SECRET, "path: @DISK0@ '@BIOS@'")):
        (tmp_path / str(number)).mkdir()
        storage: Storage = {"disks": [], "raid": "none", "lvm": True, "passphrase": secret}
        config = json.loads(filled(tmp_path / str(number), storage, uefi=False))["storage"]["config"]
        assert [action["key"] for action in config if action["type"] == "dm_crypt"] == [secret]


def test_it_is_the_same_when_cloud_init_has_written_it_as_yaml(tmp_path: Path) -> None:
    def dump(value: object) -> str:
        program = "import json, sys, yaml; yaml.safe_dump(json.load(sys.stdin), sys.stdout)"
        return _python(program, json.dumps(value))

    text = filled(tmp_path, STORAGES["LVM, encrypted"], uefi=True, dump=dump)
    read = _python("import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)", text)
    config = json.loads(read)["storage"]["config"]
    assert config[0]["path"] == "/dev/sdb"
    assert config[0]["grub_device"] is False
    assert [action["key"] for action in config if action["type"] == "dm_crypt"] == [SECRET]


def _python(program: str, text: str) -> str:
    """Debian's own Python, which has the YAML reader that cloud-init uses."""
    done = subprocess.run(["/usr/bin/python3", "-c", program], input=text, capture_output=True, text=True, check=False)
    if "No module named 'yaml'" in done.stderr:
        pytest.skip("needs the Debian package python3-yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout

"""Ignition for Fedora CoreOS and Flatcar, judged by Ignition itself."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from images.agent.ignition import with_host_key
from images.catalogue import load_catalogue
from images.native import CannotExpress, Rendered, render
from images.native.disks import placeholder, placeholders
from images.native.first_boot import first_boot
from images.protocol import Wish
from tests.images.native import report
from tests.images.native.matrix import (
    CLOUD_CONFIG,
    IGNITED,
    IGNITION,
    NETWORKS,
    SOURCES,
    STORAGES,
    Case,
    accepted,
    cases,
    wish,
)
from tests.images.native.sandbox import machine, run

SLUGS = ["coreos_stable", "flatcar_stable"]
JUDGE = "/usr/bin/ignition-validate"
CANNOT = pytest.mark.skipif(not Path(JUDGE).exists(), reason="needs the Debian package ignition")


def contents(config: dict[str, Any], path: str) -> str:
    """The text of one of a configuration's files."""
    (entry,) = [file for file in config["storage"]["files"] if file["path"] == path]
    head, _, data = entry["contents"]["source"].partition(",")
    assert head == "data:;base64"
    return base64.b64decode(data).decode()


def installed(rendered: Rendered, ordered: Wish) -> str:
    """The installed system's configuration, with what the live system's script puts in."""
    text = contents(json.loads(rendered.files["installer.ign"]), "/etc/roundhouse/system.ign")
    for number, name in enumerate(placeholders(ordered["storage"])):
        text = text.replace(name, f"/dev/disk{number}")
    for name in ("KEY", "PUB"):
        text = text.replace(placeholder(ordered["storage"], name), base64.b64encode(b"key").decode())
    return text


def complaint(path: Path) -> str:
    """What Ignition says of a file; empty: it takes it without a warning."""
    done = subprocess.run([JUDGE, path], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr + "!" * done.returncode


@CANNOT
@pytest.mark.parametrize("slug", SLUGS)
def test_ignition_takes_every_order(slug: str, tmp_path: Path) -> None:
    system = load_catalogue().get(slug)
    made, refused = accepted(system, {**IGNITED, "two": IGNITION.replace("3.2.0", "3.3.0"), "three": IGNITION + "\n"})

    def judge(numbered: tuple[int, tuple[Case, Rendered]]) -> list[str]:
        number, (case, rendered) = numbered
        texts = [rendered.files["installer.ign"], installed(rendered, case.wish)]
        said = []
        for name, text in zip(("live", "installed"), texts, strict=True):
            path = tmp_path / f"{number}-{name}.ign"
            path.write_text(text)
            said += [f"{case.name}, {name}: {word}" for word in [complaint(path)] if word]
        return said

    with ThreadPoolExecutor(2) as pool:
        assert [line for said in pool.map(judge, enumerate(made)) for line in said] == []
    assert all(": storage." in line and "; allowed: " in line for line in refused)
    assert len(made) >= 200
    report.tell(slug, len(made), len(refused), "ignition-validate, of live and installed system")


@CANNOT
@pytest.mark.parametrize("slug", SLUGS)
def test_ignition_takes_what_an_image_is_told_at_its_first_boot(slug: str, tmp_path: Path) -> None:
    system = load_catalogue().get(slug)
    made, refused = [], []
    for case in cases({**IGNITED, "two": IGNITION.replace("3.2.0", "3.3.0"), "three": IGNITION + "\n"}):
        try:
            made.append((case, with_host_key(first_boot(system, case.wish), "private\n", "ssh-ed25519 AAAA root@web1")))
        except CannotExpress as err:
            refused.append(str(err))

    def judge(numbered: tuple[int, tuple[Case, str]]) -> list[str]:
        number, (case, text) = numbered
        path = tmp_path / f"{number}.ign"
        path.write_text(text)
        return [f"{case.name}: {word}" for word in [complaint(path)] if word]

    with ThreadPoolExecutor(2) as pool:
        assert [line for said in pool.map(judge, enumerate(made)) for line in said] == []
    assert len(made) >= 200
    assert {line.partition(" ")[0] for line in refused} == {"storage.raid", "storage.lvm", "storage.passphrase"}
    assert all(f"an image of {system.name} cannot do that; allowed: " in line for line in refused)
    report.tell(f"{slug}, image", len(made), len(refused), "ignition-validate")


@pytest.mark.parametrize("slug", SLUGS)
def test_image_and_installer_make_the_same_system(slug: str) -> None:
    system, ordered = load_catalogue().get(slug), wish(STORAGES["one disk"], NETWORKS["bond of 2"], IGNITION)
    told = json.loads(with_host_key(first_boot(system, ordered), "key", "key"))
    live = json.loads(installed(render(system, ordered, SOURCES), ordered))
    assert contents(told, "/etc/ssh/ssh_host_ed25519_key.pub") == "key\n"
    for config in (told, live):
        config["storage"]["files"] = [file for file in config["storage"]["files"] if not file["path"].endswith(".pub")]
    assert told == live


def test_other_systems_are_told_nothing() -> None:
    for system in load_catalogue():
        text = first_boot(system, wish(STORAGES["one disk"], NETWORKS["both"], ""))
        assert (text != "") is (system.slug in SLUGS)


@CANNOT
def test_a_wrong_configuration_is_noticed(tmp_path: Path) -> None:
    rendered = render(load_catalogue().get("coreos_stable"), wish(STORAGES["RAID 1"], NETWORKS["both"], ""), SOURCES)
    config = json.loads(installed(rendered, wish(STORAGES["RAID 1"], NETWORKS["both"], "")))
    config["storage"]["raid"][0]["level"] = "raid11"
    (tmp_path / "wrong.ign").write_text(json.dumps(config))
    assert "raid" in complaint(tmp_path / "wrong.ign")


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize(
    ("userdata", "said"),
    [
        (CLOUD_CONFIG, "'#cloud-config' is no Ignition; allowed for .* is Ignition of version 3.0.0"),
        ("storage:\n", "no JSON"),
        ('{"ignition": {"version": "2.3.0"}}', "ignition.version '2.3.0'"),
        ('{"ignition": {"version": "3.4.0"}}', "ignition.version '3.4.0'"),
        ('{"ignition": []}', "ignition.version None"),
        ("[]", "ignition.version None"),
        ("[" * 100_000, "nested too deep"),
    ],
    ids=["cloud-config", "YAML", "old", "new", "list", "no object", "deep"],
)
def test_user_data_that_is_no_ignition_is_refused_by_name(slug: str, userdata: str, said: str) -> None:
    system, ordered = load_catalogue().get(slug), wish(STORAGES["one disk"], NETWORKS["both"], userdata)
    with pytest.raises(CannotExpress, match=f"^userdata: .*{said}"):
        render(system, ordered, SOURCES)
    with pytest.raises(CannotExpress, match=f"^userdata: .*{said}"):
        first_boot(system, ordered)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_customers_configuration_is_merged_as_it_came(slug: str) -> None:
    ordered = wish(STORAGES["one disk"], NETWORKS["both"], IGNITION)
    config = json.loads(installed(render(load_catalogue().get(slug), ordered, SOURCES), ordered))
    (merged,) = config["ignition"]["config"]["merge"]
    assert base64.b64decode(merged["source"].partition(",")[2]).decode() == IGNITION


@pytest.mark.parametrize(
    ("slug", "program"), [("coreos_stable", "coreos-installer"), ("flatcar_stable", "flatcar-install")]
)
def test_the_live_system_installs_tells_and_reboots(slug: str, program: str, tmp_path: Path) -> None:
    """The distribution's own installer is not to be had here; what it is called with is seen."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("needs the Debian package openssh-client")
    ordered = wish(STORAGES["by serial"], NETWORKS["both"], "")
    script, environment = _live(slug, program, ordered, tmp_path, exit_code=0)
    done = run(["bash"], script, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == [program, "curl", "systemctl"]
    assert f"{tmp_path}/dev/sdb" in calls[0].split()
    assert calls[1].split()[-1] == SOURCES.installed_url
    filled = json.loads((tmp_path / "run/roundhouse.ign").read_text())
    public = contents(filled, "/etc/ssh/ssh_host_ed25519_key.pub")
    assert public == (tmp_path / "run/host_key.pub").read_text()
    assert public.endswith(" root@web1.example.net\n")
    assert "PRIVATE KEY" in contents(filled, "/etc/ssh/ssh_host_ed25519_key")


@pytest.mark.parametrize(
    ("slug", "program"), [("coreos_stable", "coreos-installer"), ("flatcar_stable", "flatcar-install")]
)
def test_a_failure_of_the_live_system_is_told_and_it_stays(slug: str, program: str, tmp_path: Path) -> None:
    ordered = wish(STORAGES["by serial"], NETWORKS["both"], "")
    script, environment = _live(slug, program, ordered, tmp_path, exit_code=3)
    done = run(["bash"], script, environment)
    assert done.returncode == 1
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == [program, "curl"]
    assert calls[1].split()[-1] == SOURCES.failed_url
    assert "cannot write" in calls[1]


def _live(slug: str, program: str, ordered: Wish, root: Path, exit_code: int) -> tuple[str, dict[str, str]]:
    config = json.loads(render(load_catalogue().get(slug), ordered, SOURCES).files["installer.ign"])
    for file in config["storage"]["files"]:
        path = root / file["path"][1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents(config, file["path"]))
    (root / "run").mkdir()
    (root / "bin").mkdir()
    for name, code in ((program, exit_code), ("curl", 0), ("systemctl", 0)):
        stand_in = root / "bin" / name
        stand_in.write_text(
            f'#!/bin/sh\necho "{name}" "$@" | tr "\\n" " " >> {root}/calls; echo >> {root}/calls\n'
            f"[ {code} = 0 ] || echo cannot write >&2\nexit {code}\n"
        )
        stand_in.chmod(0o755)
    script = (root / "opt/roundhouse/bin/install").read_text()
    for folder in ("/run/", "/etc/roundhouse/"):
        script = script.replace(folder, f"{root}{folder}")
    return script, {**machine(root), "PATH": f"{root}/bin:{os.environ['PATH']}"}

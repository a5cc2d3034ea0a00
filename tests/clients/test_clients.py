"""The clients that customers have, each through a whole life: order, use, change, give back."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.cloud import PLAN, TOKEN, Cloud

_PLAYBOOK = Path(__file__).with_name("life_ansible.yml")


@pytest.mark.parametrize(
    ("package", "life"),
    [
        ("packet", "life_packet_python"),
        ("libcloud", "life_libcloud"),
        ("equinix_metal", "life_equinix_metal"),
    ],
)
def test_a_whole_life(cloud: Cloud, package: str, life: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    cloud.run_life(life)


def test_a_whole_life_by_ansible(cloud: Cloud, tmp_path: Path) -> None:
    ansible = shutil.which("ansible-playbook")
    if ansible is None:
        pytest.skip("the Debian package ansible is not installed")
    local = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = cloud.run(
        [ansible, *local, "-e", f"plan={PLAN}", str(_PLAYBOOK)],
        limit_s=400,
        PACKET_API_TOKEN=TOKEN,
        ANSIBLE_LOCAL_TEMP=str(tmp_path),
        ANSIBLE_REMOTE_TEMP=str(tmp_path),
        ANSIBLE_NOCOLOR="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr

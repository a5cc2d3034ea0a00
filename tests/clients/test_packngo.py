"""packngo's own acceptance tests, as Debian packages them, run against us as they were run against the cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.cloud import TOKEN, Cloud

_GOPATH = Path("/usr/share/gocode")
_PACKAGE = "github.com/packethost/packngo"
_AT_ONCE = 5
TOGETHER = (
    "TestAccInvalidCredentials",
    "TestAccBGPConfig",
    "TestAccBGPSession",
    "TestAccDeviceUpdate",
    "TestAccDeviceBasic",
    "TestAccDevicePXE",
    "TestAccDeviceAssignGlobalIP",
    "TestAccDeviceAssignIP",
    "TestAccDeviceCustomData",
    "TestAccDeviceSpotInstance",
    "TestAccDeviceIPAddresses",
    "TestAccDeviceListedSSHKeys",
    "TestAccDeviceSSHKeys",
    "TestAccInstanceBatches",
    "TestAccListDeviceEvents",
    "TestAccListEvents",
    "TestAccFacilities",
    "TestAccListHardwareReservations",
    "TestAccPublicIPReservation",
    "TestAccGlobalIPReservation",
    "TestAccOS",
    "TestAccPlans",
    "TestAccSpotMarketBasic",
    "TestAccSSHKeyList",
    "TestAccSSHKeyProjectList",
    "TestAccSSHKeyGet",
    "TestAccSSHKeyCreate",
    "TestWrongSSHKeyUpdate",
    "TestAccSSHKeyStringUpdate",
    "TestAccSSHKeyLabelUpdate",
    "TestAccSSHKeyUpdate",
    "TestAccSSHKeyDelete",
    "TestAccUserCurrent",
    "TestAccUsersList",
)
# These delete at their end all projects that any test has made.
ALONE = (
    "TestAccOrgBasic",
    "TestAccOrgList",
    "TestAccOrgListPaymentMethods",
    "TestAccProjectBasic",
    "TestAccProjectExtra",
    "TestAccCreateOrgProject",
    "TestAccCreateNonDefaultOrgProject",
    "TestAccListProjects",
    "TestAccProjectListPagination",
)
# What asks for something that this service does not sell, or for a place that this lab has not.
ELSEWHERE = {
    "TestAccCheckCapacity": "a machine at ams1, where the lab has none",
    "TestAccDeviceCreateFacilities": "a facility nrt1",
    "TestAccConnectBasic": "a private line to another cloud",
    "TestAccCreateEmail": "e-mail addresses besides the account's",
    "TestAccListNotifications": "notifications, which the cloud itself had withdrawn",
    "TestAccProjectListEvents": "volumes, to make an event",
    "TestAccDeviceAttachVolume": "volumes",
    "TestAccVolume": "volumes",
    "TestAccPort": "layer 2",
    "TestAccVirtualNetworks": "layer 2",
    "TestAccSpotMarketRequest": "the operating system rancher",
    "TestAccVPN": "a VPN of the provider",
}


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """packngo's tests, compiled."""
    go = shutil.which("go")
    if go is None or not (_GOPATH / "src" / _PACKAGE).exists():
        pytest.skip("the Debian packages golang-go and golang-github-packethost-packngo-dev are not installed")
    folder = tmp_path_factory.mktemp("packngo")
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(_GOPATH),
        "GOCACHE": str(folder / "cache"),
        "HOME": str(folder),
    }
    made = folder / "packngo.test"
    subprocess.run([go, "test", "-c", "-o", str(made), _PACKAGE], env=environment, check=True, timeout=300)
    return made


def _failed(cloud: Cloud, binary: Path, name: str) -> str | None:
    done = cloud.run(
        [str(binary), "-test.v", "-test.run", f"^{name}$"],
        limit_s=200,
        PACKET_API_URL=f"{cloud.api}/",
        PACKNGO_TEST_ACTUAL_API="1",
        PACKET_AUTH_TOKEN=TOKEN,
    )
    return None if done.returncode == 0 and f"--- PASS: {name}" in done.stdout else done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_acceptance(cloud: Cloud, binary: Path) -> None:
    """Each in a process of its own: one that fails to tidy up panics, and would take the others along."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = dict(zip(TOGETHER, threads.map(lambda name: _failed(cloud, binary, name), TOGETHER), strict=True))
    answers |= {name: _failed(cloud, binary, name) for name in ALONE}
    failed = {name: text[-1500:] for name, text in answers.items() if text is not None}
    assert not failed, "\n".join(f"{name}:\n{text}" for name, text in failed.items())


def test_every_test_is_run_or_has_a_reason(cloud: Cloud, binary: Path) -> None:
    listed = cloud.run([str(binary), "-test.list", "."], limit_s=60).stdout.split()
    there = {name for name in listed if name.startswith("Test")}
    run = {*TOGETHER, *ALONE}
    left = {name for name in there - run if not any(name.startswith(start) for start in ELSEWHERE)}
    assert run <= there and not left, left
